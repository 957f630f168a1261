"""What listens on a socket: the page on which a generator is explored."""
