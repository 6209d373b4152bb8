// Command gohttp runs 1,000 goroutines and an HTTP server with its clients
// over loopback, all in one static program.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	goroutines = 1000
	clients    = 20
	requests   = 10 // for each client
)

func main() {
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"goroutines", chain},
		{"http", serveAndFetch},
		{"preemption", preempt},
		{"panic", nilPanic},
	} {
		if err := step.run(); err != nil {
			fmt.Printf("gohttp: %s: %v\n", step.name, err)
			os.Exit(1)
		}
		fmt.Printf("gohttp: %s\n", step.name)
	}
	fmt.Println("gohttp: ok")
}

// chain passes a number through a row of goroutines, each of which adds one,
// while all of them are alive.
func chain() error {
	first := make(chan int)
	in := first
	for range goroutines {
		out := make(chan int)
		go func(in <-chan int) { out <- <-in + 1 }(in)
		in = out
	}
	if n := runtime.NumGoroutine(); n < goroutines {
		return fmt.Errorf("%d goroutines live, want %d", n, goroutines)
	}
	first <- 0
	if got := <-in; got != goroutines {
		return fmt.Errorf("the chain counted %d, want %d", got, goroutines)
	}
	return nil
}

func serveAndFetch() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()

	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range requests {
				if err := fetch(fmt.Sprintf("http://%s", l.Addr()), fmt.Sprintf("/%d/%d", c, i)); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	if err := srv.Close(); err != nil {
		return err
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func fetch(base, path string) error {
	resp, err := http.Get(base + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if got, want := string(body), "you asked for "+path; got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// preempt lets a goroutine spin without a call in it. With one P only a
// preemption signal lets the others go on.
func preempt() error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop int32
	go func() {
		for n := uint64(1); n != 0; n += 2 {
		}
		stop = 1 // never reached: n stays odd
	}()
	t := time.NewTimer(50 * time.Millisecond)
	select {
	case <-t.C:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("timer starved, stop = %d", stop)
	}
}

// nilPanic checks that the kernel delivers SIGSEGV the way Go needs it.
func nilPanic() (err error) {
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			err = errors.New("no runtime error from a nil dereference")
		}
	}()
	var p *struct{ v int }
	p.v++
	return nil
}
