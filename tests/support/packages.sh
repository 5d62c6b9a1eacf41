# SPDX-License-Identifier: Apache-2.0
# The Debian packages that the build, the demo and the tests need, and how to get those missing.
# Sourced by tests/run and deploy/try.

# The program, with the kernel programs.
packages_build=(
    cmake ninja-build gcc libc6-dev pkg-config
    libuv1-dev libnghttp2-dev libprotobuf-c-dev protobuf-c-compiler libfyaml-dev libjansson-dev
    libcap-ng-dev libssl-dev libxxhash-dev libcurl4-openssl-dev node-llhttp
    libisal-dev libzstd-dev liblmdb-dev
    clang-14 bpftool libbpf-dev
)
# Namespaces, links, packet-filter rules, and a Python environment for the services.
packages_demo=(python3 python3-venv iproute2 nftables ca-certificates)
# The checks of style, the unit tests, and the tools that the end-to-end tests call.
packages_tests=(
    git libcriterion-dev clang-format-14 clang-tidy-14 libclang-rt-14-dev nghttp2-client
    libcap2-bin util-linux procps curl openssl zstd
    zlib1g-dev containerd runc busybox-static
)
# Another kernel in an emulator (tests/kernel).
packages_kernel=(qemu-system-x86 busybox-static kmod cpio e2fsprogs)
# Toolchains of the clients in tests/clients, each asked for only where no other is on the path.
packages_node=(nodejs npm)
packages_java=(default-jdk-headless maven)
packages_go=(golang-go)

# packages_missing NAME…: those that are not installed, one a line. Asks dpkg only, no network.
packages_missing()
{
    local name installed
    installed=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^.i *|//p')
    for name in "$@"; do
        if ! grep -qxF "$name" <<<"$installed"; then
            printf '%s\n' "$name"
        fi
    done
}

# packages_ensure NAME…: installs what is missing; needs root only if something is.
packages_ensure()
{
    local missing
    missing=$(packages_missing "$@") || return
    if [[ -z $missing ]]; then
        return 0
    fi
    if ((EUID != 0)); then
        echo "missing packages (install them as root):" $missing >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q || echo "apt-get update failed; trying with the lists at hand" >&2
    apt-get install -q -y --no-install-recommends $missing
}
