package main

import (
	_ "embed"
	"fmt"
	"slices"

	"kiln/test/outcomes"
)

//go:embed run.py
var runnerText string

//go:embed exceptions.txt
var exceptionsText string

// A module is one of CPython's test modules.
type module struct {
	name   string
	asks   bool     // asks most of an operating system: part of the run without -all
	fast   bool     // part of the ordinary check
	files  bool     // about files: the long check runs it in every place
	except []string // from exceptions.txt
}

// modules is the table. The fast ones are few, because each boots a guest of its own.
var modules = []module{
	{name: "test_socket", asks: true},
	{name: "test_os", asks: true, files: true},
	{name: "test_posix", asks: true, fast: true, files: true},
	{name: "test_subprocess", asks: true},
	{name: "test_signal", asks: true},
	{name: "test_mmap", asks: true, files: true},
	{name: "test_epoll", asks: true, fast: true},
	{name: "test_ssl", asks: true},

	{name: "test_select"},
	{name: "test_poll"},
	{name: "test_selectors"},
	{name: "test_fcntl"},
	{name: "test_pty"},
	{name: "test_openpty"},
	{name: "test_tempfile"},
	{name: "test_shutil"},
	{name: "test_pathlib"},
	{name: "test_posixpath"},
	{name: "test_glob"},
	{name: "test_stat"},
	{name: "test_io"},
	{name: "test_file"},
	{name: "test_fileio"},
	{name: "test_mailbox"},
	{name: "test_dbm"},
	{name: "test_thread"},
	{name: "test_threading"},
	{name: "test_threadsignals"},
	{name: "test_eintr"},
	{name: "test_fork1"},
	{name: "test_wait3"},
	{name: "test_wait4"},
	{name: "test_resource"},
	{name: "test_time"},
	{name: "test_pwd"},
	{name: "test_grp"},
	{name: "test_locale"},
	{name: "test_syslog"},
	{name: "test_faulthandler"},
	{name: "test_asynchat"},
	{name: "test_ftplib"},
	{name: "test_smtplib"},
	{name: "test_poplib"},
	{name: "test_imaplib"},
	{name: "test_httplib"},
	{name: "test_httpservers"},
	{name: "test_urllib2_localnet"},
	{name: "test_xmlrpc"},
}

// arguments are those of run.py for m.
func (m module) arguments(folder string) []string {
	return append([]string{m.name, folder}, m.except...)
}

// choose returns the modules named, or those that ask most, or all, each with its
// exceptions.
func choose(names []string, all bool) ([]module, error) {
	for _, name := range names {
		if !slices.ContainsFunc(modules, func(m module) bool { return m.name == name }) {
			return nil, fmt.Errorf("module %s is not in the table", name)
		}
	}
	exceptions, err := outcomes.ParseExceptions(exceptionsText)
	if err != nil {
		return nil, fmt.Errorf("exceptions.txt: %w", err)
	}
	var chosen []module
	for _, m := range modules {
		if slices.Contains(names, m.name) || len(names) == 0 && (all || m.asks) {
			m.except = exceptions[m.name]
			chosen = append(chosen, m)
		}
	}
	return chosen, nil
}
