package image

// kernelNeeds is the least memory beyond the image with which metal and the
// kernel program's runtime come up, in bytes. What the program needs comes on
// top; only it knows.
const kernelNeeds = 6 << 20

// LeastMemory returns the MB of memory that a machine has to have for an image
// that is loaded up to the physical address end: with less it cannot start.
func LeastMemory(end uint64) int { return int((end + kernelNeeds + 1<<20 - 1) >> 20) }
