#!/usr/bin/env bash
# Fine-tune a Paraformer with your own recordings:   bash finetune.sh
#
# As it stands: the bundled recognizer learns the sample data of data/list, on a CPU, in a minute or two. For your
# own, set what you need in front of the command (or below), and see README.md beside this file:
#   model=paraformer-zh train_scp=/data/train_wav.scp train_text=/data/train_text.txt ... gpus=0,1 bash finetune.sh
# Any further ++name=value on the command line goes to the training and wins over what stands here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
if [ -x "$root/.venv/bin/torchrun" ]; then PATH="$root/.venv/bin:$PATH"; fi

# What to begin with: a name of docs/models.md, a hub id or a directory.
model=${model:-bundled-asr}

# Data: lists of sounds and texts. Relative paths within them begin at $data_root.
data_root=${data_root:-$root}
data_dir=${data_dir:-$root/data/list}
train_scp=${train_scp:-$data_dir/train_wav.scp}
train_text=${train_text:-$data_dir/train_text.txt}
val_scp=${val_scp:-$data_dir/val_wav.scp}
val_text=${val_text:-$data_dir/val_text.txt}

# Results: checkpoints, log.txt, report.md. The directory is a model directory afterwards.
output_dir=${output_dir:-$here/outputs}

# Machines. gpus: "0,1" uses those two; empty uses processors, in `processes` processes.
gpus=${gpus:-}
processes=${processes:-1}
if [ -n "$gpus" ]; then
    export CUDA_VISIBLE_DEVICES=$gpus
    processes=$(awk -F, '{print NF}' <<<"$gpus")
    device=cuda
else
    device=cpu
fi
nnodes=${WORLD_SIZE:-1}
node_rank=${RANK:-0}
master_addr=${MASTER_ADDR:-127.0.0.1}
master_port=${MASTER_PORT:-26669}
unset WORLD_SIZE RANK

# The run. For a large model and hours of sound, the usual values stand behind each.
max_epoch=${max_epoch:-10}           # 50
batch_size=${batch_size:-3000}       # 6000: frames of 10 ms in a batch, padding included
lr=${lr:-0.0005}                     # 0.0002
warmup_steps=${warmup_steps:-30}     # 30000: updates until the rate is reached
num_workers=${num_workers:-0}        # 4: processes that read sounds

mkdir -p "$output_dir"
output_dir=$(cd "$output_dir" && pwd)
cd "$data_root"

for part in train val; do
    scp=${part}_scp text=${part}_text
    scp2jsonl \
        ++scp_file_list="[\"${!scp}\",\"${!text}\"]" \
        ++data_type_list='["source","target"]' \
        ++jsonl_file_out="$output_dir/$part.jsonl"
done

torchrun \
    --nnodes "$nnodes" \
    --nproc_per_node "$processes" \
    --node_rank "$node_rank" \
    --master_addr "$master_addr" \
    --master_port "$master_port" \
    "$root/funasr/bin/train_ds.py" \
    ++model="$model" \
    ++train_data_set_list="$output_dir/train.jsonl" \
    ++valid_data_set_list="$output_dir/val.jsonl" \
    ++device="$device" \
    ++dataset=AudioDataset \
    ++dataset_conf.index_ds=IndexDSJsonl \
    ++dataset_conf.data_split_num=1 \
    ++dataset_conf.batch_sampler=BatchSampler \
    ++dataset_conf.batch_type=token \
    ++dataset_conf.batch_size="$batch_size" \
    ++dataset_conf.sort_size=1024 \
    ++dataset_conf.num_workers="$num_workers" \
    ++train_conf.max_epoch="$max_epoch" \
    ++train_conf.log_interval=10 \
    ++train_conf.resume=true \
    ++train_conf.validate_interval=2000 \
    ++train_conf.save_checkpoint_interval=2000 \
    ++train_conf.keep_nbest_models=5 \
    ++train_conf.avg_nbest_model=5 \
    ++train_conf.use_deepspeed=false \
    ++train_conf.find_unused_parameters=true \
    ++optim_conf.lr="$lr" \
    ++scheduler_conf.warmup_steps="$warmup_steps" \
    ++output_dir="$output_dir" \
    ++report=true \
    "$@"
