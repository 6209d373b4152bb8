package bake

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLocale bakes programs that do and do not ask for a locale.
func TestLocale(t *testing.T) {
	if _, err := os.Stat(localeDir); err != nil {
		t.Skipf("the host has no locale: %v", err)
	}
	const asks = "#include <locale.h>\nint main(void) { return !setlocale(LC_ALL, \"C.UTF-8\"); }"
	for _, tt := range []struct {
		name, source string
		args         []string
		want         bool
	}{
		{"asks", asks, nil, true},
		{"asks, static", asks, []string{"-static"}, true},
		{"asks, stripped", asks, []string{"-s"}, true},
		{"does not ask", "int main(void) { return 0; }", nil, false},
	} {
		bin := filepath.Join(t.TempDir(), "program")
		compile(t, tt.source, append([]string{"-o", bin}, tt.args...)...)
		b, _, err := fill(Options{Program: bin})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := b.root.lookup(localeDir+"/LC_CTYPE") != nil; got != tt.want {
			t.Errorf("%s: the image has the locale: %v, want %v", tt.name, got, tt.want)
		}
	}
}
