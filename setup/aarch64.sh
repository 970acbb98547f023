#!/bin/sh
# Tries the tests of the robot's half on 64-bit ARM, emulated: what a Jetson would compute, not how fast. Some that watch a
# clock fail for that alone, and no compiler is there for the firmware. As root, on Debian or Ubuntu. Further arguments go to
# pytest.
#   setup/aarch64.sh                         all that needs no torch; an hour or two
#   setup/aarch64.sh tests/control -x
set -eu
cd "$(dirname "$0")/.."
SYSTEM="$PWD/.venv/aarch64"
SUITE=bookworm PYTHON_VERSION=3.11 # Debian's, and the Python that comes with it
[ $# -gt 0 ] || set -- tests/bundle tests/cameras tests/control tests/experience tests/firmware_bridge tests/robots

if [ ! -e "$SYSTEM/.made" ]; then
    apt-get install -y -qq --no-install-recommends qemu-user-static debootstrap >/dev/null
    rm -rf "$SYSTEM"
    debootstrap --arch=arm64 --variant=minbase --include=python3,ca-certificates --foreign "$SUITE" "$SYSTEM" >/dev/null
    # Unpacked is enough; to configure every package under emulation takes half an hour.
    for package in "$SYSTEM"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" "$SYSTEM"; done
    platforms=$(for glibc in 17 24 26 27 28 31 34 35 36; do printf -- '--platform manylinux_2_%s_aarch64 ' $glibc; done)
    # What the package wants, and of its extras what these tests do.
    requirements=$(sed -n -e '/^dependencies = \[/,/^\]/s/^ *"\([^"]*\)".*/\1/p' \
        -e 's/^\(simulation\|visualisation\|cameras\|mcap\|test\) = \[\(.*\)\]$/\2/p' pyproject.toml | tr -d '",')
    "${FOSP_EDGE_PYTHON:-python3}" -m venv "$SYSTEM/opt/pip"
    # shellcheck disable=SC2086
    "$SYSTEM/opt/pip/bin/python" -m pip install -q --disable-pip-version-check --target "$SYSTEM/opt/packages" $platforms \
        --platform manylinux2014_aarch64 --python-version "$PYTHON_VERSION" --only-binary=:all: \
        $requirements "onnx>=1.17"
    # onnxruntime looks here for what the processor can do: an Orin's cores.
    for core in 0 1; do
        printf 'processor\t: %s\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm' $core
        printf ' lrcpc dcpop asimddp uscat ilrcpc flagm\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n'
        printf 'CPU part\t: 0xd42\nCPU revision\t: 1\n\n'
    done > "$SYSTEM/opt/cpuinfo"
    touch "$SYSTEM/.made"
fi

if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then # the kernel hands programs for ARM to the emulator
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' \
        > /proc/sys/fs/binfmt_misc/register
fi

mkdir -p "$SYSTEM/opt/tree"
# shellcheck disable=SC2016
exec unshare --mount sh -ec '
    system=$1 && shift
    mount --rbind /dev "$system/dev"
    mount -t proc proc "$system/proc"
    mount --bind "$system/opt/cpuinfo" "$system/proc/cpuinfo"
    mount -t sysfs sys "$system/sys"
    mount --bind "$PWD" "$system/opt/tree"
    exec chroot "$system" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LANG=C.UTF-8 PYTHONPATH=/opt/packages:/opt/tree \
        PYTHONDONTWRITEBYTECODE=1 sh -ec "cd /opt/tree && exec python3 -m pytest -p no:cacheprovider --timeout 900 --hypothesis-profile \"emulated machine\" \"\$@\"" pytest "$@"
' sh "$SYSTEM" "$@"
