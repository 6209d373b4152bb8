package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"
)

// monitor is a connection to QEMU's monitor protocol (QEMU, QMP protocol
// specification).
type monitor struct {
	conn net.Conn
	in   *json.Decoder
}

// dial connects to a QEMU that is starting.
func dial(ctx context.Context, socket string) (*monitor, error) {
	var conn net.Conn
	var err error
	for range 100 {
		if conn, err = net.Dial("unix", socket); err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	m := &monitor{conn, json.NewDecoder(conn)}
	var greeting json.RawMessage
	if err := m.in.Decode(&greeting); err != nil {
		return nil, err
	}
	_, err = m.do("qmp_capabilities", nil)
	return m, err
}

func (m *monitor) close() { m.conn.Close() }

// do carries out a command and returns its result.
func (m *monitor) do(command string, args map[string]any) (json.RawMessage, error) {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return nil, err
	}
	for {
		var reply struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.in.Decode(&reply); err != nil {
			return nil, fmt.Errorf("QEMU's monitor: %s: %w", command, err)
		}
		switch {
		case reply.Error != nil:
			return nil, fmt.Errorf("QEMU's monitor: %s: %s", command, reply.Error.Desc)
		case reply.Return != nil:
			return reply.Return, nil
		}
		// Else an event.
	}
}

// stackBytes is how much of a stack is looked at.
const stackBytes = 16 << 10

// maxDepth bounds the callers of a sample.
const maxDepth = 64

// sample looks at the machine for a while and returns the program counters of
// each look, innermost first, those of callers as return addresses. Looks that
// meet no kernel code are left out. file is for its use.
func sample(ctx context.Context, m *monitor, file string, long time.Duration) ([][]uint64, error) {
	var stacks [][]uint64
	for end := time.Now().Add(long); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		stack, err := m.look(file)
		if err != nil {
			return nil, err
		}
		if stack != nil {
			stacks = append(stacks, stack)
		}
	}
	return stacks, nil
}

// look stops the machine for one sample.
func (m *monitor) look(file string) ([]uint64, error) {
	if _, err := m.do("stop", nil); err != nil {
		return nil, err
	}
	stack, err := m.backtrace(file)
	if err != nil {
		return nil, err
	}
	_, err = m.do("cont", nil)
	return stack, err
}

var register = regexp.MustCompile(`\b(RIP|RBP|RSP|HLT)=([0-9a-f]+)`)

// backtrace follows the frame pointers of a stopped machine.
func (m *monitor) backtrace(file string) ([]uint64, error) {
	reply, err := m.do("human-monitor-command", map[string]any{"command-line": "info registers"})
	if err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(reply, &text); err != nil {
		return nil, err
	}
	regs := map[string]uint64{}
	for _, r := range register.FindAllStringSubmatch(text, -1) {
		if regs[r[1]], err = strconv.ParseUint(r[2], 16, 64); err != nil {
			return nil, err
		}
	}
	const upperHalf = 1 << 63
	if regs["RIP"] < upperHalf || regs["RSP"] < upperHalf || regs["HLT"] != 0 {
		return nil, nil
	}
	// It fails where the memory behind the stack is not mapped, after it has
	// written what is: the file says.
	if _, err := m.do("memsave", map[string]any{"val": int64(regs["RSP"]), "size": stackBytes, "filename": file}); err != nil {
		if _, statErr := os.Stat(file); statErr != nil {
			return nil, err
		}
	}
	memory, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	stack := []uint64{regs["RIP"]}
	for fp := regs["RBP"]; len(stack) < maxDepth; {
		at := fp - regs["RSP"]
		if fp < regs["RSP"] || at+16 > uint64(len(memory)) {
			break
		}
		stack = append(stack, binary.LittleEndian.Uint64(memory[at+8:]))
		next := binary.LittleEndian.Uint64(memory[at:])
		if next <= fp {
			break
		}
		fp = next
	}
	return stack, nil
}
