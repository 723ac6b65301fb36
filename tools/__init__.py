"""What builds, measures and shows the project; nothing here is released."""
