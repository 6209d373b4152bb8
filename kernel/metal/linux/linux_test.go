package linux

import (
	"go/constant"
	"go/importer"
	"go/token"
	"go/types"
	"testing"
)

// others are constants that no package below names as Linux does, with the
// header that says their values.
var others = map[string]int64{
	"SignalMaximum": 64, // _NSIG, arch/x86/include/uapi/asm/signal.h
	"O_ACCMODE":     3,  // include/uapi/asm-generic/fcntl.h
	"ILL_ILLOPN":    2,  // include/uapi/asm-generic/siginfo.h
	"FPE_FLTINV":    7,
	"TRAP_TRACE":    2,
	"BUS_ADRALN":    1,
	"BUS_ADRERR":    2,
	"FPE_INTDIV":    1,
	"SEGV_MAPERR":   1,
	"SEGV_ACCERR":   2,
	"SI_TKILL":      -6,
	"SIG_DFL":       0, // include/uapi/asm-generic/signal-defs.h
	"SIG_IGN":       1,
}

// TestNumbers compares every constant of this package with golang.org/x/sys
// and gVisor, which have made theirs of Linux's headers.
func TestNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("parses golang.org/x/sys/unix")
	}
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	load := func(path string) *types.Scope {
		p, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		return p.Scope()
	}
	own := load("kiln/kernel/metal/linux")
	known := []*types.Scope{load("golang.org/x/sys/unix"), load("gvisor.dev/gvisor/pkg/abi/linux")}
	if len(own.Names()) < 150 {
		t.Fatalf("only %d names found", len(own.Names()))
	}
	for _, name := range own.Names() {
		c, ok := own.Lookup(name).(*types.Const)
		if !ok {
			t.Errorf("%s is not a constant", name)
			continue
		}
		want, ok := others[name]
		for _, scope := range known {
			if k, isConst := scope.Lookup(name).(*types.Const); isConst && !ok {
				want, ok = constant.Int64Val(constant.ToInt(k.Val()))
			}
		}
		got, exact := constant.Int64Val(c.Val())
		switch {
		case !ok:
			t.Errorf("%s: no package has it", name)
		case !exact || got != want:
			t.Errorf("%s = %v, want %d", name, c.Val(), want)
		}
	}
}
