#!/usr/bin/env bash
# sshd.sh ROOT_DIR PORT PUBLIC_KEY STATE_DIR [CPU] [HOME_SIZE]: an aarch64 sshd on 127.0.0.1:PORT, user pi, in the root that setup.sh made.
# Runs in the foreground, needs root. What the board keeps (/home/pi, /tmp, /etc/ssh) lies in memory and in STATE_DIR,
# seen by this sshd alone, so that several can share one root; HOME_SIZE (64m, say) limits /home/pi.
# Thermal and cpufreq values in its /sys are invented: test doubles, to be labelled so.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); dir=$(realpath "$1"); port=$2; key=$(realpath "$3"); state=$(realpath "$4"); cpu=${5:-cortex-a72}; size=${6:-1g}; root=$dir/root
mkdir -p "$state/ssh"; cp -r "$root/etc/ssh/." "$state/ssh/"
[ -e "$state/ssh/host_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$state/ssh/host_key"
chmod 600 "$state/ssh/host_key"
printf 'Port %s\nListenAddress 127.0.0.1\nHostKey /etc/ssh/host_key\nUsePAM no\nPasswordAuthentication no\nStrictModes no\nSetEnv QEMU_CPU=%s\nSubsystem sftp /usr/lib/openssh/sftp-server\nPidFile none\n' "$port" "$cpu" >"$state/ssh/sshd_config"
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
[ -e $binfmt/qemu-aarch64 ] || sed -E "s#:[^:]*:[A-Z]*\$#:$dir/qemu/usr/bin/qemu-aarch64-static:OCF#" "$dir/qemu/usr/lib/binfmt.d/qemu-aarch64.conf" >$binfmt/register
exec unshare -m --propagation private bash -c "
  mount --bind '$state/ssh' '$root/etc/ssh'; mount -t tmpfs -o size=$size,mode=755 tmpfs '$root/home/pi'; mount -t tmpfs -o mode=1777 tmpfs '$root/tmp'
  mkdir -p '$root/home/pi/.ssh'; cp '$key' '$root/home/pi/.ssh/authorized_keys'; chown -R 1000:1000 '$root/home/pi'; chmod 700 '$root/home/pi/.ssh'; chmod 600 '$root/home/pi/.ssh/authorized_keys'
  mount --bind /dev '$root/dev'; mount --bind /dev/pts '$root/dev/pts'; mount -t proc proc '$root/proc'; mount --bind '$here/cpuinfo_$cpu' '$root/proc/cpuinfo'
  mount -t tmpfs tmpfs '$root/sys'; mkdir -p '$root'/sys/devices/system/cpu '$root'/sys/class/thermal/thermal_zone0
  d='$root'/sys/devices/system/cpu/cpufreq/policy0; mkdir -p \$d; echo 1500000 >\$d/scaling_cur_freq; echo 1500000 >\$d/cpuinfo_max_freq; echo ondemand >\$d/scaling_governor
  for f in possible present online; do echo 0-3 >'$root'/sys/devices/system/cpu/\$f; done; echo 48312 >'$root'/sys/class/thermal/thermal_zone0/temp; echo cpu-thermal >'$root'/sys/class/thermal/thermal_zone0/type
  exec env -i PATH=/usr/bin:/usr/sbin QEMU_CPU=$cpu chroot '$root' /usr/sbin/sshd -D -e"
