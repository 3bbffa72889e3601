"""What nodes listen on: the Gateway of this controller, its file, and where its listeners are reached."""
