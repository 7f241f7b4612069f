#!/usr/bin/env bash
# An ARM64 root to run ecdd in under emulation: qemu-user 10 and Python from Debian trixie, the aarch64 wheels of what
# `ecdd predict` needs. Usage: arm64_root.sh FOLDER. Nothing is installed on this machine; what is there is kept.
# Where packages come from is what this machine's own apt and pip are set to; apt needs Debian's trixie there.
# Why trixie: qemu 7.2 of bookworm crashes inside XNNPACK.
set -euo pipefail
root=$(mkdir -p "$1" && cd "$1" && pwd)
project=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
suite=trixie
python_version=3.13

mirror() { # the Debian mirror that this machine's apt uses; never one of security updates alone
  apt-get indextargets --format '$(SITE) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "Debian" && $1 !~ /security/ {print $1; exit}'
}

fetch() { # architecture packages…: into $root/apt-<architecture>/archives, with an apt of its own
  local architecture=$1 at=$root/apt-$1
  shift
  mkdir -p "$at"/lists/partial "$at"/archives/partial
  : >"$at/status"
  echo "deb $site $suite main" >"$at/sources.list"
  local options=(-qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State=$at"
    -o "Dir::State::status=$at/status" -o "Dir::State::lists=$at/lists" -o "Dir::Cache=$at"
    -o "Dir::Cache::archives=$at/archives" -o "Dir::Etc::sourcelist=$at/sources.list" -o Dir::Etc::sourceparts=/nonexistent
    -o Acquire::Languages=none -o APT::Install-Recommends=false -o APT::Sandbox::User=root
    -o APT::Keep-Downloaded-Packages=true -o Binary::apt-get::APT::Keep-Downloaded-Packages=true)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" --yes --download-only install "$@"
}

unpack() { # architecture into
  mkdir -p "$2"
  for package in "$root/apt-$1"/archives/*.deb; do dpkg-deb -x "$package" "$2"; done
}

if [[ ! -e $root/.system ]]; then
  site=$(mirror)
  [[ -n $site ]] || { apt-get update -qq && site=$(mirror); }
  [[ -n $site ]] || { echo "arm64_root.sh: apt on this machine knows no Debian mirror; add one to its sources" >&2; exit 2; }
  fetch amd64 qemu-user
  fetch arm64 "python$python_version" libstdc++6 libgomp1
  unpack amd64 "$root/qemu"
  unpack arm64 "$root/system"
  for name in lib bin; do ln -sfn "usr/$name" "$root/system/$name"; done
  find "$root/qemu/usr/bin" -type f ! -name qemu-aarch64 -delete # 440 MB of other processors
  rm -rf "$root"/apt-*
  touch "$root/.system"
fi
if [[ ! -e $root/.wheels ]] || [[ $project/constraints.txt -nt $root/.wheels ]]; then
  rm -rf "$root/packages"
  mapfile -t needed < <("$python" -c "import tomllib; print(*tomllib.load(open('$project/pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')")
  "$python" -m pip install --quiet --no-warn-conflicts --disable-pip-version-check --only-binary=:all: --python-version "$python_version" \
    --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_28_aarch64 --target "$root/packages" -c "$project/constraints.txt" "${needed[@]}"
  touch "$root/.wheels"
fi
