// Lets netpoll.go declare functions without a body: they are the runtime's.
