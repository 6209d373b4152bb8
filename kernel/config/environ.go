package config

import "strings"

// mergeEnv returns base with the variables of over added or replaced.
func mergeEnv(base, over []string) []string {
	replaced := map[string]bool{}
	for _, e := range over {
		name, _, _ := strings.Cut(e, "=")
		replaced[name] = true
	}
	var env []string
	for _, e := range base {
		if name, _, _ := strings.Cut(e, "="); !replaced[name] {
			env = append(env, e)
		}
	}
	return append(env, over...)
}
