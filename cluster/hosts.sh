#!/usr/bin/env bash
# Your own machines by plain `ray start` over ssh: the cluster of onprem.yaml without Ray's cluster launcher and its autoscaler.
#   bash cluster/hosts.sh up USER@HEAD [USER@HOST]...      copies the code, sets each machine up, starts Ray: the head first. Given again, it renews all that
#   bash cluster/hosts.sh run USER@HEAD [ARGUMENTS OF hetero_grid.py]      the study as a Ray job, followed to its end
#   bash cluster/hosts.sh down USER@HEAD [USER@HOST]...    ends this user's Ray of that cluster
# From the project's folder. What each machine needs beforehand: docs/clusters.md. SSH=... is used instead of `ssh`, as SSH="ssh -i KEY".
set -euo pipefail
[ -f cluster/node.py ] && [ $# -ge 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
what=$1 head=$2
shift
ssh=${SSH:-ssh}
port=6379
environment="RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MALLOC_ARENA_MAX=2"
node="cd ~/pat-sweeps && $environment ~/pat-venv/bin/python cluster/node.py ray start"

set_up() {
    $ssh "$1" 'mkdir -p ~/pat-sweeps && install -d -m 700 ~/.ray'
    rsync -a -e "$ssh" --delete --exclude=__pycache__ pat sweeps analysis cluster pyproject.toml constraints.txt "$1:pat-sweeps/"
    rsync -a -e "$ssh" --chmod=600 ~/.ray/auth_token "$1:.ray/auth_token"
    $ssh "$1" 'bash ~/pat-sweeps/cluster/setup.sh'
}

case $what in
    up)
        [ -f ~/.ray/auth_token ] || { echo "hosts.sh: no token: ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token" >&2; exit 2; }
        for host in "$@"; do set_up "$host" & done
        for _ in "$@"; do wait -n || { echo "hosts.sh: a machine could not be set up; what it said stands above" >&2; exit 1; }; done
        $ssh "$head" "$node --head --port=$port --dashboard-host=127.0.0.1"
        for host in "${@:2}"; do $ssh "$host" "$node --address=${head#*@}:$port"; done
        ;;
    run)
        shift
        line=
        for word in "$@"; do line+=$(printf ' %q' "$word"); done
        $ssh -t "$head" "cd ~/pat-sweeps && $environment ~/pat-venv/bin/ray job submit --address http://127.0.0.1:8265 --working-dir . -- ~/pat-venv/bin/python sweeps/hetero_grid.py$line"
        ;;
    down)
        for host in "${@:2}" "$head"; do
            $ssh "$host" "cd ~/pat-sweeps/cluster && ~/pat-venv/bin/python -c 'import node; node.stop(\"$port\")'"
        done
        ;;
    *) echo "hosts.sh: up, run or down, not $what" >&2; exit 2 ;;
esac
