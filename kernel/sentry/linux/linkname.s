// Lets files of this package declare functions without a body: they are gVisor's.
