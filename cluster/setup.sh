#!/usr/bin/env bash
# What every node of a cluster is set up with, the same on head and workers; a node that has it all is left as it is.
#   bash ~/pat-sweeps/cluster/setup.sh [--nfs SERVER:/EXPORT] [--with PACKAGE]...
# ~/pat-venv: the dependencies of pyproject.toml at the versions of constraints.txt. /mnt/pat: the storage that all nodes share.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
venv=~/pat-venv
nfs=
extra=()
while [ $# -gt 0 ]; do
    case $1 in
        --nfs) nfs=$2; shift 2 ;;
        --with) extra+=("$2"); shift 2 ;;
        *) echo "setup.sh: unknown option $1" >&2; exit 2 ;;
    esac
done
stop() { echo "$(hostname): $*" >&2; exit 1; }

# --- shared storage
if [ -n "$nfs" ] && ! mountpoint -q /mnt/pat; then
    command -v mount.nfs4 > /dev/null || sudo -n apt-get install -y -q nfs-common > /dev/null \
        || { sudo -n apt-get update -q > /dev/null && sudo -n apt-get install -y -q nfs-common > /dev/null; } \
        || stop "cannot install nfs-common, which mounts $nfs"
    sudo -n mkdir -p /mnt/pat
    options=nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
    case $nfs in *.efs.*) ;; *) options=${options/4.1/3} ;; esac # Filestore's basic tiers speak version 3 only
    grep -q " /mnt/pat " /etc/fstab || echo "$nfs /mnt/pat nfs $options 0 0" | sudo -n tee -a /etc/fstab > /dev/null
    timeout 120 sudo -n mount /mnt/pat || stop "cannot mount $nfs on /mnt/pat: is its id right, and does it admit this network on port 2049?"
fi
mkdir -p /mnt/pat/runs /mnt/pat/data 2> /dev/null \
    || sudo -n install -d -o "$(id -u)" -g "$(id -g)" /mnt/pat/runs /mnt/pat/data 2> /dev/null \
    || stop "/mnt/pat is not there or not writable: mount the folder that all nodes share there"

# --- environment
uv=~/.pat-uv/bin/uv
if ! cmp -s "$here/constraints.txt" $venv/.constraints; then
    if [ ! -x $uv ]; then
        python3 -c 'import ensurepip' 2> /dev/null || sudo -n apt-get install -y -q python3-venv > /dev/null \
            || { sudo -n apt-get update -q > /dev/null && sudo -n apt-get install -y -q python3-venv > /dev/null; } \
            || stop "python3 has no venv module: apt install python3-venv"
        python3 -m venv ~/.pat-uv
        ~/.pat-uv/bin/python -m pip install -q --disable-pip-version-check -c "$here/constraints.txt" uv
    fi
    [ -x $venv/bin/python ] || $uv venv -q --python 3.11 $venv
    $uv pip install -q --compile-bytecode --python $venv/bin/python -c "$here/constraints.txt" -r "$here/pyproject.toml"
    cp "$here/constraints.txt" $venv/.constraints # last: without it the next start goes on
fi
for package in ${extra[@]+"${extra[@]}"}; do
    $venv/bin/python -c "import $package" 2> /dev/null \
        || $uv pip install -q --python $venv/bin/python -c "$here/constraints.txt" "$package"
done

# --- shell. Never PYTHONPATH: workers would no longer import the code that a job brings.
chmod 700 ~/.ray && chmod 600 ~/.ray/auth_token
line='export PATH="$HOME/pat-venv/bin:$PATH" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MALLOC_ARENA_MAX=2 # pat-sweeps'
grep -qxF "$line" ~/.bashrc 2> /dev/null || { sed -i '/# pat-sweeps$/d' ~/.bashrc 2> /dev/null || true; echo "$line" >> ~/.bashrc; }
