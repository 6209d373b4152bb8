#!/bin/bash
# Builds Kiln into bin/: the guest's two programs, which are embedded in the
# tool, then the tool and the compiler's names for it. Quick when nothing
# changed: Go's build cache knows.
set -euo pipefail
cd "$(dirname "$0")"

# The guest's programs are linked at fixed addresses in the upper half, which
# the linker takes as negative numbers (image/bootinfo). -checklinkname=0 lets
# them reach into the Go runtime.
metal_text=-2146430976  # 0xffffffff80101000
kernel_text=-1610608640 # 0xffffffffa0001000

# Symbols and DWARF are not in the tool: they are kept beside it, for kiln gdb.
guest() { # NAME LDFLAGS PACKAGE [TAGS]
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -buildvcs=false -tags "${4:-}" \
		-ldflags="-checklinkname=0 -funcalign=16 $2" -o "build/$1.elf" "$3"
	build/pack "build/$1.elf" "bake/components/$1.zst" bin/debug
}

mkdir -p build bin/debug
began=$(mktemp -p build)
trap 'rm -f "$began"' EXIT
CGO_ENABLED=0 go build -o build/pack ./bake/pack
echo "build: metal"
guest metal "-T=$metal_text -E=_kiln_start" ./kernel/metal
# A kernel for each bake configuration (image/config.go): tags leave out what
# it does not have.
echo "build: kernels (the first time takes a minute or two)"
guest kernel-hw_generic "-T=$kernel_text" ./kernel
guest kernel-hw_virtio "-T=$kernel_text" ./kernel nommio,no9p
guest kernel-microvm "-T=$kernel_text" ./kernel nopci,no9p,noiso9660
find bin/debug -type f ! -newer "$began" -delete # of earlier builds
echo "build: kiln"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o bin/kiln ./cmd/kiln
# The other names of it, beside it and as a Rumprun tree has them.
bin/kiln env >/dev/null
bin/kiln env --install rumprun >/dev/null
echo "build: bin/kiln"
