#!/usr/bin/env bash
# What every machine of a cluster is set up with, the same on head and workers; one that has it all is left as it is.
#   bash ~/pat-sweeps/cluster/setup.sh [--nfs SERVER:/EXPORT] [--with PACKAGE]...
# ~/pat-venv: the dependencies of pyproject.toml at the versions of constraints.txt. /mnt/pat: the storage that all machines share.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
venv=~/pat-venv
uv=~/.pat-uv/bin/uv
nfs=
extra=()
while [ $# -gt 0 ]; do
    case $1 in
        --nfs) nfs=$2; shift 2 ;;
        --with) extra+=("$2"); shift 2 ;;
        *) echo "setup.sh: unknown option $1" >&2; exit 2 ;;
    esac
done

stop() { echo "error: $(hostname): $*" >&2; exit 1; }
install() { # a package of Ubuntu or Debian
    sudo -n apt-get install -y -q "$1" > /dev/null 2>&1 || { sudo -n apt-get update -q && sudo -n apt-get install -y -q "$1"; } > /dev/null 2>&1
}

exec 9> ~/.pat-setup.lock
flock 9 # home folders may be shared

# --- shared storage
if [ -n "$nfs" ] && ! mountpoint -q /mnt/pat; then
    command -v mount.nfs4 > /dev/null || install nfs-common || stop "cannot install nfs-common, which mounts $nfs"
    case $nfs in *.efs.*) version=4.1 ;; *) version=3 ;; esac # Filestore's basic tiers know version 3 only
    options=nfsvers=$version,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
    sudo -n mkdir -p /mnt/pat
    sudo -n sed -i '\| /mnt/pat |d' /etc/fstab
    echo "$nfs /mnt/pat nfs $options 0 0" | sudo -n tee -a /etc/fstab > /dev/null
    timeout 120 sudo -n mount /mnt/pat || stop "cannot mount $nfs on /mnt/pat: is the name right, and does it admit this network on port 2049?"
fi
mkdir -p /mnt/pat/runs /mnt/pat/data 2> /dev/null \
    || sudo -n install -d -o "$(id -u)" -g "$(id -g)" /mnt/pat/runs /mnt/pat/data 2> /dev/null \
    || stop "/mnt/pat is missing or not writable: mount there the folder that all machines share"
[ -w /mnt/pat/runs ] || stop "/mnt/pat/runs is not writable for $(id -un)"

# --- data sets on the machine's own fast disk, where it has one
if mountpoint -q /opt/dlami/nvme && [ ! -e ~/pat-data ]; then
    sudo -n install -d -o "$(id -u)" -g "$(id -g)" /opt/dlami/nvme/pat-data && ln -s /opt/dlami/nvme/pat-data ~/pat-data
fi

# --- environment
get_uv() {
    [ ! -x $uv ] || return 0
    python3 -c 'import ensurepip' 2> /dev/null || install python3-venv || stop "python3 has no venv module: apt install python3-venv"
    python3 -m venv ~/.pat-uv
    ~/.pat-uv/bin/python -m pip install -q --disable-pip-version-check -c "$here/constraints.txt" uv
}
if ! cmp -s "$here/constraints.txt" $venv/.constraints; then
    get_uv
    [ -x $venv/bin/python ] || $uv venv -q --python 3.11 $venv
    $uv pip install -q --compile-bytecode --python $venv/bin/python -c "$here/constraints.txt" -r "$here/pyproject.toml" --extra detection
    cp "$here/constraints.txt" $venv/.constraints # last: a set-up that was cut off goes on
fi
for package in ${extra[@]+"${extra[@]}"}; do
    $venv/bin/python -c "from importlib.metadata import version; version('$package')" 2> /dev/null && continue
    get_uv
    $uv pip install -q --python $venv/bin/python -c "$here/constraints.txt" "$package"
done

# --- shell. Never PYTHONPATH: workers would no longer import the code that a job brings.
if [ -e ~/.ray/auth_token ]; then
    chmod 700 ~/.ray
    chmod 600 ~/.ray/auth_token
fi
line='export PATH="$HOME/pat-venv/bin:$PATH" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MALLOC_ARENA_MAX=2 # pat-sweeps'
touch ~/.bashrc
grep -qxF "$line" ~/.bashrc || { sed -i '/# pat-sweeps$/d' ~/.bashrc && echo "$line" >> ~/.bashrc; }
