"""What the tensor engine does and why it takes that long: figures, their JSON, a page of HTML."""
