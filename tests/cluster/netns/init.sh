#!/bin/bash
# Process 1 of a machine, in net, pid, mount and uts namespaces of its own: makes the machine's own file system, then sleeps.
# From its environment: NAME, PLACE (keys and settings of all machines), CHECKOUT, PYTHON (where the environment's Python
# lives); for a node SHARED (the folder behind /mnt/pat), for the laptop SOURCE (the project to be seen in CHECKOUT's place).
# All that a machine writes elsewhere is in its tmpfs, and gone with its namespaces.
set -eu
hostname "$NAME"
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for part in PLACE PYTHON ${SHARED:+SHARED} ${SOURCE:+SOURCE}; do
  mkdir -p "/run/own/$part"
  mount --bind "${!part}" "/run/own/$part"
done
mkdir -p /run/own/venv /run/own/upper /run/own/work /run/sshd
mount --bind "$CHECKOUT/.venv" /run/own/venv
cp "$CHECKOUT/constraints.txt" /run/own/

for folder in ~root /tmp /mnt; do mount -t tmpfs tmpfs "$folder"; done
mount -t tmpfs -o size=1g tmpfs /dev/shm
chmod 700 ~root
chmod 1777 /tmp
cp /etc/skel/.bashrc /etc/skel/.profile ~root/ 2>/dev/null || touch ~root/.bashrc
mkdir -p "$PYTHON" "$CHECKOUT"
mount --bind /run/own/PYTHON "$PYTHON"
mount --bind /run/own/PLACE/hosts /etc/hosts
if [ "${SOURCE:-}" ]; then mount --bind /run/own/SOURCE "$CHECKOUT"; else mount -t tmpfs tmpfs "$CHECKOUT"; fi
# The environment is shared to read; what is written to it stays in this machine. Its scripts name its path.
mkdir -p "$CHECKOUT/.venv"
mount -t overlay overlay -o lowerdir=/run/own/venv,upperdir=/run/own/upper,workdir=/run/own/work "$CHECKOUT/.venv"

mkdir -m 700 ~root/.ssh
if [ "${SOURCE:-}" ]; then
  cp /run/own/PLACE/{id,known_hosts} ~root/.ssh/
else
  cp /run/own/PLACE/id.pub ~root/.ssh/authorized_keys
  rm -f "$CHECKOUT"/.venv/lib/python*/site-packages/__editable__*  # a node has the packages, not the project
  mkdir ~root/pat-venv /mnt/pat
  mount --bind /run/own/SHARED /mnt/pat
  mount --bind "$CHECKOUT/.venv" ~root/pat-venv
  cp /run/own/constraints.txt ~root/pat-venv/.constraints  # cluster/setup.sh finds everything installed
  /usr/sbin/sshd -f /run/own/PLACE/sshd_config -E /tmp/sshd.log
fi
touch /run/own/ready
while :; do sleep 3600 & wait $! || true; done
