package main

import "kiln/kernel/metal/serial"

// The console of a machine without a channel to the host, which crashes are
// reported on: the serial port COM1.
const (
	com1    = 0x3f8
	com1GSI = 4

	// serialVector is its vector.
	serialVector = vectorFirstDevice
)

var console serial.Port

// listenConsole turns on input.
func listenConsole() {
	ring := allocPages(0)
	if ring == 0 || !console.Present() {
		return
	}
	console.Listen(ring)
	routeGSI(com1GSI, serialVector, false)
	files.Input(&console)
}

// print writes s to the console.
func print(s string) {
	for i := range len(s) {
		if s[i] == '\n' {
			console.Put('\r')
		}
		console.Put(s[i])
	}
}

// printHex writes v as 0x and sixteen digits.
func printHex(v uint64) {
	print("0x")
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		console.Put(digits[v>>uint(shift)&15])
	}
}

// printDecimal writes v.
func printDecimal(v uint64) {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + v%10)
		v /= 10
		if v == 0 {
			break
		}
	}
	console.Write(buf[i:])
}
