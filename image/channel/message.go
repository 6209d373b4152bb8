package channel

import (
	"encoding/json"
	"strconv"
)

// A Request is a message to the guest. Exactly one field is set.
type Request struct {
	Shutdown bool     `json:"shutdown,omitempty"` // end the program: its stop signal, later SIGKILL
	Signal   string   `json:"signal,omitempty"`   // a signal for what runs, by its name without "SIG" or its number
	Winsize  []uint16 `json:"winsize,omitempty"`  // rows, columns of the terminal
	Open     int      `json:"open,omitempty"`     // begin this session: the first bytes of its Stdin, so many, are the JSON of an Opening
	Hangup   bool     `json:"hangup,omitempty"`   // end this session: whoever it was for has gone
}

// ParseRequest reads a request.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(b, &r); err != nil {
		return Request{}, ruleError("a request that is no JSON: %v", err)
	}
	set := 0
	for _, b := range []bool{r.Shutdown, r.Signal != "", r.Winsize != nil, r.Open != 0, r.Hangup} {
		if b {
			set++
		}
	}
	if set != 1 {
		return Request{}, ruleError("%d requests in one message, want 1", set)
	}
	if r.Winsize != nil && len(r.Winsize) != 2 {
		return Request{}, ruleError("window size with %d numbers, want 2", len(r.Winsize))
	}
	if r.Open < 0 || r.Open > MaxOpening {
		return Request{}, ruleError("a session's opening of %d bytes", r.Open)
	}
	return r, nil
}

// A Report is a message of the guest. Exactly one field is set.
type Report struct {
	// Ready says that the guest takes input and requests.
	Ready bool `json:"ready,omitempty"`
	// Notice is what the guest's kernel has to say to whoever runs it.
	Notice string `json:"notice,omitempty"`
	// Exit is the program's exit status, 0 to 255, or the session's. It is the
	// last report of either.
	Exit *int `json:"exit,omitempty"`
}

// ParseReport reads a report.
func ParseReport(b []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, ruleError("a report that is no JSON: %v", err)
	}
	if r.Exit != nil && (*r.Exit < 0 || *r.Exit > 0xff) {
		return Report{}, ruleError("an exit status of %d", *r.Exit)
	}
	return r, nil
}

// Reports as the guest writes them. Those of every run are put together by
// hand: encoding/json is a lot of code to run once, which costs a boot under
// TCG about 10 ms.

// ReadyReport returns the JSON of a report that the guest is ready.
func ReadyReport() []byte { return []byte(`{"ready":true}`) }

// ExitReport returns the JSON of a report of the exit status.
func ExitReport(status int) []byte {
	return append(strconv.AppendInt([]byte(`{"exit":`), int64(status), 10), '}')
}

// NoticeReport returns the JSON of a notice, cut to fit.
func NoticeReport(text string) []byte {
	for {
		b, err := json.Marshal(Report{Notice: text})
		if err == nil && len(b) <= MaxMessage {
			return b
		}
		text = text[:len(text)/2]
	}
}

// AppendRequest appends a frame with a request of a session's.
func AppendRequest(b []byte, s Session, r Request) ([]byte, error) {
	text, err := json.Marshal(r)
	if err == nil && len(text) > MaxMessage {
		err = ruleError("a request of %d bytes", len(text))
	}
	if err != nil {
		return b, err
	}
	return AppendFrame(b, KindMessage, s.Stream(Messages), text), nil
}
