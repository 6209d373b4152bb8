package bake

import "io/fs"

// mountPoints are where the guest mounts file systems of its own, whatever
// the image has.
var mountPoints = []string{"/proc", "/sys", "/dev"}

// baseDirs are the directories of every image.
var baseDirs = []struct {
	path string
	mode fs.FileMode
}{
	{"/dev", 0o755}, {"/etc", 0o755}, {"/home", 0o755}, {"/mnt", 0o755}, {"/proc", 0o555},
	{"/root", 0o700}, {"/run", 0o755}, {"/sys", 0o555}, {"/tmp", 0o777 | fs.ModeSticky},
	{"/usr/bin", 0o755}, {"/usr/lib", 0o755}, {"/usr/lib64", 0o755}, {"/usr/sbin", 0o755},
	{"/var/cache", 0o755}, {"/var/lib", 0o755}, {"/var/log", 0o755}, {"/var/spool", 0o755}, {"/var/tmp", 0o777 | fs.ModeSticky},
}

// baseLinks are the merged /usr of today's distributions, and the old names of
// /run. A host without them has its files where the links lead.
var baseLinks = [][2]string{
	{"/bin", "usr/bin"}, {"/lib", "usr/lib"}, {"/lib64", "usr/lib64"}, {"/sbin", "usr/sbin"},
	{"/var/run", "../run"}, {"/etc/os-release", "../usr/lib/os-release"}, {mtab[0], mtab[1]},
}

// mtab is the list of mounted file systems by its old name (mount(8)).
var mtab = [2]string{"/etc/mtab", "../proc/self/mounts"}

// baseFiles are what the C library looks for: users, names, services. They are
// ours, not the host's, so that an image does not depend on where it is made.
// resolv.conf is written by the guest when it knows its network.
var baseFiles = map[string]string{
	"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n" +
		"bin:x:2:2:bin:/bin:/usr/sbin/nologin\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n" +
		"www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"/etc/group": "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\n" +
		"www-data:x:33:\nutmp:x:43:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n",
	"/etc/hosts":          "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
	"/etc/nsswitch.conf":  "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\nrpc: files\n",
	"/etc/resolv.conf":    "",
	"/etc/host.conf":      "multi on\n",
	"/etc/shells":         "/bin/sh\n",
	"/usr/lib/os-release": "NAME=\"Kiln\"\nID=kiln\nPRETTY_NAME=\"Kiln\"\n",
	"/etc/protocols":      "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
	"/etc/services": "echo 7/tcp\necho 7/udp\nftp 21/tcp\nssh 22/tcp\ntelnet 23/tcp\nsmtp 25/tcp\n" +
		"domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nntp 123/udp\nimap2 143/tcp\nhttps 443/tcp\nhttps 443/udp\n" +
		"submission 587/tcp\nimaps 993/tcp\nmysql 3306/tcp\npostgresql 5432/tcp\nredis 6379/tcp\nhttp-alt 8080/tcp\n",
}

// addBase adds what every image has.
func (r *root) addBase(hostname string) error {
	for _, d := range baseDirs {
		if err := r.mkdir(d.path, d.mode, fromBase); err != nil {
			return err
		}
	}
	for _, l := range baseLinks {
		if err := r.symlink(l[0], l[1], fromBase); err != nil {
			return err
		}
	}
	for p, content := range baseFiles {
		if err := r.text(p, content, fromBase); err != nil {
			return err
		}
	}
	return r.text("/etc/hostname", hostname+"\n", fromBase)
}
