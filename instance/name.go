package instance

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"regexp"
)

// namePattern is what podman allows.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// maxName is how long a name may be: it is a host name and a file name to some.
const maxName = 128

func checkName(name string) error {
	if !namePattern.MatchString(name) || len(name) > maxName {
		return fail("use letters, digits, _ . and -, the first a letter or digit", "%q is no name for an instance", name)
	}
	return nil
}

// Words of names that nobody has thought of: a kiln's.
var (
	manners = []string{"amber", "ashen", "bisque", "brisk", "bronze", "calm", "celadon", "clear", "cobalt", "coiled",
		"copper", "crackled", "deep", "dipped", "dry", "eager", "even", "fired", "fluted", "frosty", "gentle", "glazed",
		"glowing", "golden", "hollow", "honest", "iron", "ivory", "keen", "matte", "mellow", "ochre", "pale", "patient",
		"plain", "polished", "quiet", "raku", "round", "rustic", "salted", "sandy", "satin", "slender", "smoky", "solid",
		"speckled", "steady", "sturdy", "sunny", "tall", "tempered", "thrown", "tidy", "umber", "vivid", "warm", "woven"}
	things = []string{"amphora", "anvil", "basin", "beaker", "bellows", "bottle", "bowl", "brick", "chimney", "clay",
		"crock", "crucible", "cup", "damper", "dish", "ember", "ewer", "flagon", "flask", "flue", "furnace", "glaze",
		"goblet", "hearth", "jar", "jug", "kettle", "ladle", "lamp", "lantern", "ledge", "mortar", "mug", "oven", "pestle",
		"pitcher", "plate", "platter", "pot", "quartz", "saucer", "shard", "shelf", "slip", "stove", "tankard", "teapot",
		"tile", "tray", "trivet", "tumbler", "tureen", "urn", "vase", "vessel", "wheel"}
)

// inventName returns a name that taken does not know.
func inventName(taken func(string) bool) string {
	for n := 0; ; n++ {
		name := pick(manners) + "_" + pick(things)
		if n > 10 { // most are in use
			name = fmt.Sprintf("%s%d", name, n)
		}
		if !taken(name) {
			return name
		}
	}
}

func pick(words []string) string {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
	if err != nil {
		panic(err) // documented never to happen
	}
	return words[n.Int64()]
}

// newID returns an identifier that no instance has.
func newID() string {
	b := make([]byte, 6)
	rand.Read(b) // which never fails
	return hex.EncodeToString(b)
}
