# everyday runs what Perl scripts commonly use: hashes and regular expressions,
# files, sort, fork and pipes, signals, a core module. Ends "everyday: ok".

use strict;
use warnings;
use POSIX qw(:sys_wait_h floor);

sub check { my ($ok, $what) = @_; $ok or do { print "everyday: $what failed\n"; exit 1 } }

# Words counted by a hash.
my %count;
$count{$_}++ for "the cat and the dog and the bird" =~ /\w+/g;
check(join(",", map { "$_=$count{$_}" } sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)
	eq "the=3,and=2,bird=1,cat=1,dog=1", "hash");

# A file written, read by lines, removed.
my $name = "/tmp/everyday.$$";
open(my $out, ">", $name) or die "everyday: $name: $!\n";
print $out "line $_\n" for 1 .. 1000;
close($out) or die "everyday: close: $!\n";
open(my $in, "<", $name) or die "everyday: $name: $!\n";
my $sum = 0;
while (<$in>) { $sum += $1 if /^line (\d+)$/ }
close $in;
check($sum == 500500, "file");
check(unlink($name) == 1 && !-e $name, "unlink");

# A child that writes to a pipe, and its status.
pipe(my $r, my $w) or die "everyday: pipe: $!\n";
my $pid = fork() // die "everyday: fork: $!\n";
if ($pid == 0) { close $r; print $w "from the child"; close $w; POSIX::_exit(9) }
close $w;
check(<$r> eq "from the child", "pipe");
waitpid($pid, 0);
check(WIFEXITED($?) && WEXITSTATUS($?) == 9, "status");

# A program's output by backticks (needs /bin/sh only with shell characters).
check(`$^X -e 'print 6*7'` eq "42", "backticks");

# An alarm that ends a sleep.
my $rang = 0;
eval { local $SIG{ALRM} = sub { $rang = 1; die "alarm\n" }; alarm 1; sleep 30; };
check($rang && $@ eq "alarm\n", "alarm");
check(floor(-1.5) == -2, "POSIX");

print "everyday: ok\n";
