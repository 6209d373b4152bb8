package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// nginxConf has Debian's settings of what sends files, on one port, and the other
// choice on another. What else Debian sets (logs, modules, compression) is left out.
const nginxConf = `daemon off;
user root root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr notice;
events { worker_connections 768; }
http {
	access_log off;
	default_type application/octet-stream;
	client_body_temp_path /tmp/body;
	proxy_temp_path /tmp/proxy;
	fastcgi_temp_path /tmp/fastcgi;
	uwsgi_temp_path /tmp/uwsgi;
	scgi_temp_path /tmp/scgi;
	root /srv;
	server { listen 80; sendfile on; tcp_nopush on; }
	server { listen 81; sendfile off; tcp_nopush off; }
}
`

// nginxArgs are nginx's. Its notices say when it serves.
var nginxArgs = []string{"-e", "stderr"}

// siteFiles are what nginx serves and needs, by guest path; makeSite makes them.
func siteFiles(dir string) map[string]string {
	files := map[string]string{}
	for guest, name := range map[string]string{
		"/etc/nginx/nginx.conf": "nginx.conf", "/etc/passwd": "passwd", "/etc/group": "group",
		"/srv/1k": "1k", "/srv/1m": "1m",
	} {
		files[guest] = filepath.Join(dir, "site", name)
	}
	return files
}

// makeSite makes the files of siteFiles.
func makeSite(dir string) error {
	big := make([]byte, 1<<20)
	rand.New(rand.NewSource(1)).Read(big)
	for name, data := range map[string][]byte{
		"nginx.conf": []byte(nginxConf),
		"passwd":     []byte("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"),
		"group":      []byte("root:x:0:\nwww-data:x:33:\n"),
		"1k":         big[:1<<10],
		"1m":         big,
	} {
		path := filepath.Join(dir, "site", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// nginxLoads are the ways in which wrk asks for files.
var nginxLoads = []struct {
	name, path string
	connection string // the header: whether it stays
}{
	{"1 KB, kept connections", "1k", "keep-alive"},
	{"1 KB, a connection each", "1k", "close"},
	{"1 MB, kept connections", "1m", "keep-alive"},
	{"1 MB, a connection each", "1m", "close"},
}

// nginxRates boots nginx and measures its requests per second over the tap, with
// Debian's settings and without sendfile.
func nginxRates(s system, n *network, o options) (samples []sample, err error) {
	g, end, err := startServer(s, nginx, "start worker process ")
	if err != nil {
		return nil, err
	}
	defer func() { err = end(err) }()
	for port, settings := range []string{"nginx", "nginx without sendfile"} {
		for _, load := range nginxLoads {
			rate, err := g.wrk(n, fmt.Sprintf("http://%s:%d/%s", guestAddr, 80+port, load.path), load.connection, o.short)
			if err != nil {
				return nil, err
			}
			samples = append(samples, sample{settings + ", " + load.name + ", requests/s", rate})
		}
	}
	return samples, nil
}

// wrk asks for a file by ten connections for some seconds; for a short run by one, so
// that also a machine that has much else to do answers a request.
func (g *guest) wrk(n *network, url, connection string, short bool) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connections, duration := "10", "6s"
	if short {
		connections, duration = "1", "4s"
	}
	argv := []string{"wrk", "-t", "1", "-c", connections, "-d", duration, "--timeout", "10s", "-H", "Connection: " + connection, url}
	out, err := n.output(ctx, argv...)
	if err != nil {
		return 0, fmt.Errorf("%s (Debian's package wrk has it): %w; console:\n%s", strings.Join(argv, " "), err, g.console.tail())
	}
	return parseWrk(string(out))
}

// parseWrk reads what wrk prints. Requests that failed are an error.
func parseWrk(out string) (rate float64, err error) {
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Requests/sec":
			if rate, err = strconv.ParseFloat(value, 64); err != nil {
				return 0, fmt.Errorf("wrk: rate %q: %w", value, err)
			}
		case "Non-2xx or 3xx responses", "Socket errors":
			return 0, fmt.Errorf("wrk: %s: %s", name, value)
		}
	}
	if rate == 0 {
		return 0, fmt.Errorf("wrk had no request answered:\n%s", out)
	}
	return rate, nil
}
