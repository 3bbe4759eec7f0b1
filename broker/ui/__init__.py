"""The front-ends that put one handshake before a person; they do not know each other."""
