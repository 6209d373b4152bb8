package rumprun

import "fmt"

// An option is one option of a command line, with its argument if it takes
// one.
type option struct {
	letter   byte
	argument string
}

// options reads options as getopt(3) of POSIX does: letters may share a word,
// an argument follows its letter in the same word or is the next one, "--" or
// the first word without "-" ends them. letters is getopt's option string.
func options(args []string, letters string) (found []option, rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if word == "--" {
			return found, args[1:], nil
		}
		if len(word) < 2 || word[0] != '-' {
			return found, args, nil
		}
		args = args[1:]
		for i := 1; i < len(word); i++ {
			takes, known := lookUp(letters, word[i])
			if !known {
				return nil, nil, unknownOption(word[i])
			}
			o := option{letter: word[i]}
			if takes {
				switch {
				case i+1 < len(word):
					o.argument = word[i+1:]
				case len(args) > 0:
					o.argument, args = args[0], args[1:]
				default:
					return nil, nil, inputError(fmt.Sprintf("option -%c needs an argument", word[i]), "rumprun -h lists the options")
				}
			}
			found = append(found, o)
			if takes {
				break
			}
		}
	}
	return found, nil, nil
}

// unknownOption says that an option does not exist, or not at that place.
func unknownOption(letter byte) error {
	if _, before := lookUp(scriptOptions, letter); before {
		return inputError(fmt.Sprintf("option -%c belongs before the platform", letter), "")
	}
	if _, behind := lookUp(guestOptions, letter); behind {
		return inputError(fmt.Sprintf("option -%c belongs behind the platform", letter), "")
	}
	return inputError(fmt.Sprintf("there is no option -%c", letter), "rumprun -h lists the options")
}

// lookUp reports whether letters has the option, and whether it takes an
// argument.
func lookUp(letters string, letter byte) (takes, known bool) {
	for i := range len(letters) {
		if letters[i] == letter && letter != ':' {
			return i+1 < len(letters) && letters[i+1] == ':', true
		}
	}
	return false, false
}
