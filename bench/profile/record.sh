#!/bin/bash
# record.sh makes kernel/default.pgo anew: the profile by which the compiler
# decides what to inline in the guest kernel (go help build, -pgo). It runs
# what servers do: Redis with many clients, with few, and with pipelines, with
# and without a file to append to, and the benchmark's system calls and disk
# accesses. It needs root for a tap, and takes about five minutes; do it on a
# machine that does nothing else, after changes to what a packet or a system
# call goes through.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-30}
work=$(mktemp -d)
ns=kiln-profile-$$
trap 'ip netns del "$ns" 2>/dev/null; rm -r "$work"' EXIT
./build.sh
go build -o "$work/profile" ./bench/profile

ip netns add "$ns"
ip -n "$ns" link set lo up
ip -n "$ns" tuntap add tap0 mode tap
ip -n "$ns" addr add 10.0.120.1/24 dev tap0
ip -n "$ns" link set tap0 up
tap=(-I "if,vioif,-net tap,script=no,ifname=tap0" -W if,inet,static,10.0.120.101/24)
redis=(--save '' --protected-mode no --bind 0.0.0.0)
mkdir "$work/disk"
head -c 100M /dev/zero >"$work/disk/seq"
head -c 200M /dev/zero >"$work/disk/rand"
truncate -s 1G "$work/disk.img"
mkfs.ext4 -q -d "$work/disk" "$work/disk.img"

# record NAME LOAD RUN… takes samples of what kiln run RUN… does under LOAD.
record() {
	local name=$1 load=$2
	shift 2
	timeout 120 ip netns exec "$ns" "$work/profile" -seconds "$seconds" -load "$load" \
		-o "$work/$name.pgo" -- bin/kiln run qemu -M 256 "$@" 2>"$work/$name.log" ||
		{ cat "$work/$name.log" >&2; exit 1; }
}

benchmark="redis-benchmark -h 10.0.120.101 -t set,get"
bin/kiln bake -o "$work/redis.img" /usr/bin/redis-server
record many "$benchmark -c 50 -n 20000" "${tap[@]}" "$work/redis.img" -- --appendonly no "${redis[@]}"
record one "$benchmark -c 1 -n 3000" "${tap[@]}" "$work/redis.img" -- --appendonly no "${redis[@]}"
record pipeline "$benchmark -c 50 -P 16 -n 100000" "${tap[@]}" "$work/redis.img" -- --appendonly no "${redis[@]}"
record append "$benchmark -c 50 -n 20000" "${tap[@]}" -b "$work/disk.img,/data" "$work/redis.img" -- \
	--appendonly yes --appendfsync everysec --dir /data "${redis[@]}"
for program in syscalls storage; do
	gcc -static -O2 -pthread -o "$work/$program" "bench/guest/$program.c"
	# The programs end by themselves; profiles want them to go on.
	printf '#!/bin/busybox sh\nwhile :; do /%s /data; done\n' "$program" >"$work/$program.sh"
	chmod +x "$work/$program.sh"
	bin/kiln bake -o "$work/$program.img" --add "$work/$program:/$program" --add "$work/$program.sh:/run.sh" /bin/busybox -- sh /run.sh
	record "$program" "" -b "$work/disk.img,/data" "$work/$program.img"
done
go tool pprof -proto -output kernel/default.pgo "$work"/{many,one,pipeline,append,syscalls,storage}.pgo
