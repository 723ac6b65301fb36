"""What the cluster agreed on, image by image, and what clients were told about it.

Every image that is applied anywhere for the first time takes the next place. A client's command
must have happened at one place between its beginning and its end, which is what linearizable means
where the order is known:

* lost: acknowledged, and no image shows it happen in that time
* ghost: refused, and it happened all the same
* stale-read: an answer that no image of that time gives
* twice: a change that was undone by another one, and happened again
* diverged: a node whose image at an index is another one than the first node's
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from logd.metadata import ClusterImage, TopicImage
from logd.model.ids import TopicId

Kind = Literal["create", "alter", "delete", "read"]
Result = Literal["open", "ok", "exists", "absent", "refused", "unknown"]

#: Where a command writes its mark; every mark is written once.
MARK = "retention.ms"


@dataclass(slots=True)
class Command:
    """One command of a client. `begin`, `end`: how many images there were."""

    client: str
    kind: Kind
    name: str
    mark: str
    begin: int
    end: int = -1
    result: Result = "open"
    #: What a read found.
    found: str = ""

    def __str__(self) -> str:
        what = f"{self.client} {self.kind} {self.name} {self.mark or self.found}"
        return f"{what} [{self.begin}, {self.end}) {self.result}"


def mark_of(topic: TopicImage | None) -> str:
    """The mark that a topic bears; empty: there is none."""
    return "" if topic is None else topic.config.get(MARK, "")


class Truth:
    """The images in the order in which they were committed, and the commands."""

    def __init__(self) -> None:
        self.images: list[ClusterImage] = [ClusterImage()]
        self.commands: list[Command] = []
        self._by_index: dict[int, ClusterImage] = {0: self.images[0]}
        self._marks = 0

    @property
    def image(self) -> ClusterImage:
        """The newest one."""
        return self.images[-1]

    def see(self, index: int, image: ClusterImage) -> str:
        """A node's image at an index; returns what is wrong, or nothing."""
        known = self._by_index.get(index)
        if known is None:
            self._by_index[index] = image
            self.images.append(image)
            return self._check_step()
        return "" if known == image else f"diverged: images at {index}: {known}, {image}"

    def _check_step(self) -> str:
        """What holds between an image and the next."""
        before, now = self.images[-2:]
        for node_id, node in now.nodes.items():
            known = before.nodes.get(node_id)
            if known is not None and node.node_epoch < known.node_epoch:
                return f"node {node_id}: its epoch went from {known.node_epoch} to {node}"
            if node.directory_id in now.removed:
                return f"node {node_id} is registered with a directory that was given up"
        gone = [each for each in now.voters if each.directory_id in now.removed]
        return f"a directory that was given up votes: {gone}" if gone else ""

    # --- commands

    def begin(self, client: str, kind: Kind, name: str) -> Command:
        mark = ""
        if kind in ("create", "alter"):
            self._marks += 1
            mark = str(1_000_000 + self._marks)
        command = Command(client, kind, name, mark, len(self.images))
        self.commands.append(command)
        return command

    def end(self, command: Command, result: Result, found: str = "") -> None:
        command.result, command.found, command.end = result, found, len(self.images)

    def problems(self) -> list[str]:
        """Every command whose answer the images deny."""
        born, twice = self._first_seen()
        return [*twice, *(wrong for each in self.commands if (wrong := self._judge(each, born)))]

    def _first_seen(self) -> tuple[dict[str, int], list[str]]:
        """Where each mark is seen first, and what is wrong with those that come back."""
        found: dict[str, int] = {}
        twice: list[str] = []
        borne: dict[TopicId, str] = {}
        before = self.images[0]
        for place, image in enumerate(self.images):
            if image.topics is before.topics:
                continue
            before = image
            for topic in image.topics.values():
                mark = mark_of(topic)
                if borne.get(topic.topic_id) == mark:
                    continue
                borne[topic.topic_id] = mark
                if found.setdefault(mark, place) != place:
                    twice.append(f"twice: {topic.name} {mark}, at {found[mark]} and at {place}")
        return found, twice

    def _judge(self, command: Command, born: dict[str, int]) -> str:
        place = born.get(command.mark, -1) if command.mark else -1
        match command.result:
            case "exists" | "absent" | "refused":
                if place >= 0:
                    return f"ghost: {command} happened at {place}"
            case "ok" if command.mark:
                return "" if command.begin <= place < command.end else f"lost: {command}, {place}"
            case "ok" if command.kind == "delete":
                done = self._ever(command, lambda i: self._was_deleted(command.name, i), since=0)
                return "" if done else f"lost: {command}"
            case "open" | "unknown":
                return ""
            case "ok":
                pass
        return self._judge_answer(command)

    def _judge_answer(self, command: Command) -> str:
        """What an answer says of the topic was so at one time before it was given."""
        name = command.name
        if command.result == "ok":
            seen = self._ever(command, lambda i: mark_of(self._topic(name, i)) == command.found)
        elif command.result == "exists":
            seen = self._ever(command, lambda i: self._topic(name, i) is not None)
        elif command.result == "absent":
            seen = self._ever(command, lambda i: self._topic(name, i) is None)
        else:
            return ""
        return "" if seen else f"stale-read: {command}"

    def _ever(self, command: Command, is_so: Callable[[int], bool], since: int = -1) -> bool:
        return any(map(is_so, range(command.begin + since, command.end)))

    def _topic(self, name: str, place: int) -> TopicImage | None:
        image = self.images[place]
        topic_id = image.topic_ids.get(name)
        return None if topic_id is None else image.topics[topic_id]

    def _was_deleted(self, name: str, place: int) -> bool:
        before, now = self.images[place - 1], self.images[place]
        return name in before.topic_ids and now.topic_ids.get(name) != before.topic_ids[name]
