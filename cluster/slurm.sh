#!/usr/bin/env bash
# The study of `hetero_grid.py` inside a SLURM allocation: Ray on all of its machines, for this job alone.
#   sbatch [OPTIONS OF SBATCH] cluster/slurm.sh [ARGUMENTS OF hetero_grid.py]      from the project's folder, on a file system that all machines share
# Ten minutes before its time is over, and when it is preempted, runs end their epoch and the job is queued again; it goes on from there.
# ------------------------------------------------------------------ edit this block ------------------------------------------------------------------
#SBATCH --job-name=pat-sweeps
#SBATCH --nodes=1
#SBATCH --gpus-per-node=4                  # 0 on machines without
#SBATCH --cpus-per-task=32                 # of each machine, for its GPUs together
#SBATCH --mem=0                            # all of a machine's memory
#SBATCH --time=24:00:00
# ------------------------------------------------------------ nothing to edit below this line ---------------------------------------------------------
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
: "${SLURM_JOB_ID:?slurm.sh: give it to sbatch}"
cd "$SLURM_SUBMIT_DIR"
[ -f sweeps/hetero_grid.py ] || { echo "slurm.sh: sbatch from the project's folder, this is $PWD" >&2; exit 2; }
python=$PWD/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
node=("$python" "$PWD/cluster/node.py" ray start --block)

# --- the Ray of this job: a token and a port of its own
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=240 MALLOC_ARENA_MAX=2
RAY_AUTH_TOKEN=$("$python" -c 'import secrets; print(secrets.token_hex(32))')
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(scontrol show node "$head" | grep -o 'NodeAddr=[^ ]*' | cut -d = -f 2)
port=$((20000 + SLURM_JOB_ID % 10000))
step=(srun --overlap --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --cpu-bind=none --kill-on-bad-exit=0)
gpus=${SLURM_GPUS_PER_NODE:-0} # may read a100:4
share=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${gpus##*:}" --min-worker-port=0 --max-worker-port=0)

"${step[@]}" --nodes=1 --ntasks=1 --nodelist="$head" "${node[@]}" --head --port=$port --dashboard-host=127.0.0.1 "${share[@]}" &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    others=$((SLURM_JOB_NUM_NODES - 1))
    "${step[@]}" --nodes=$others --ntasks=$others --exclude="$head" "${node[@]}" --address="$address:$port" "${share[@]}" &
fi
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

"$python" - "$address:$port" "$SLURM_JOB_NUM_NODES" << 'END'
import sys, time, ray
address, wanted = sys.argv[1], int(sys.argv[2])
deadline, there = time.monotonic() + 600, 0
while there < wanted:
    if time.monotonic() > deadline:
        sys.exit(f"slurm.sh: after 10 min {there} of {wanted} machines have joined Ray")
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
        there = sum(node["Alive"] for node in ray.nodes())
        ray.shutdown()
    except ConnectionError:
        pass
    time.sleep(1)
END

# --- the study; a signal pauses it
signalled=
pause() { signalled=yes; kill -USR2 "$study" 2> /dev/null || true; }
trap pause USR1 TERM
"$python" sweeps/hetero_grid.py --address "$address:$port" --stage "${TMPDIR:-/tmp}/pat-data-$(id -un)" "$@" < /dev/null &
study=$!
code=0
while kill -0 "$study" 2> /dev/null; do
    code=0
    wait "$study" || code=$? # a signal ends the waiting, not the study
done
if [ -n "$signalled" ] && [ "$code" -ne 0 ]; then
    echo "slurm.sh: paused; job $SLURM_JOB_ID is queued again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
