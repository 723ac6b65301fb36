"""What several folders of tests share; each module belongs to one subject."""
