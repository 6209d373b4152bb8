package powercut_test

import "testing"

// The ledger notices what a disk that ignores flushes does.
func TestLedger(t *testing.T) {
	before := []string{"found log 0", "found state 0", "ready", "ack log 1", "ack slot 1", "ack state 1", "ack file 1", "ack log 2"}
	good := []string{"found log 2", "found state 1", "found slot 1 1", "found file 1"}
	for name, after := range map[string][]string{
		"":                   good,
		"one more":           {"found log 3", "found state 2", "found slot 1 1", "found slot 2 2", "found file 1"},
		"lost record":        {"found log 1", "found state 1", "found slot 1 1", "found file 1"},
		"lost state":         {"found log 2", "found state 0", "found slot 1 1", "found file 1"},
		"lost slot":          {"found log 2", "found state 1", "found slot 1 0", "found file 1"},
		"lost file":          {"found log 2", "found state 1", "found slot 1 1"},
		"from nowhere":       {"found log 4", "found state 1", "found slot 1 1", "found file 1"},
		"torn":               append(good, "broken state of 12 bytes"),
		"not a word of ours": append(good, "recorder: log: Input/output error"),
	} {
		l := &ledger{}
		l.restart()
		for _, line := range before {
			if wrong := l.hear(line); wrong != "" {
				t.Fatal(wrong)
			}
		}
		l.restart()
		wrong := ""
		for _, line := range append(after, "ready") {
			if w := l.hear(line); w != "" {
				wrong = w
			}
		}
		if sound := name == "" || name == "one more"; sound != (wrong == "") {
			t.Errorf("%q: the ledger says %q", name, wrong)
		}
	}
}
