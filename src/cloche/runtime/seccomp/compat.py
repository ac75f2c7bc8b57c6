"""The numbers of the system calls of 32-bit programs, up to Linux 6.18. Data, and look-ups.

    i386    on x86_64, through int 0x80         from asm/unistd_32.h
    x32     on x86_64, with bit 30 set          from asm/unistd_x32.h: x86_64's, but for a few
    arm     on aarch64, the EABI                from asm/unistd-eabi.h, asm/unistd.h

Imported only for a profile that lets one of them in; tables are split at the first look-up.

i386 has one call for all that is done with sockets and one for System V's IPC, from the time before
each got a number of its own. What is wanted is the first argument, the other arguments lie in
memory, where no filter sees them.

What does not belong here: 64-bit ABIs (`syscalls`), and what the numbers are used for (`rules`).
"""

from __future__ import annotations

from cloche.runtime.seccomp import syscalls

# name, number on i386, number on arm; -1 where the ABI does not have the call. From 424 on: `syscalls`.
_OLDER = """
restart_syscall 0 0  exit 1 1  fork 2 2  read 3 3  write 4 4  open 5 5  close 6 6  waitpid 7 -1  creat 8 8
link 9 9  unlink 10 10  execve 11 11  chdir 12 12  time 13 -1  mknod 14 14  chmod 15 15  lchown 16 16
break 17 -1  oldstat 18 -1  lseek 19 19  getpid 20 20  mount 21 21  umount 22 -1  setuid 23 23  getuid 24 24
stime 25 -1  ptrace 26 26  alarm 27 -1  oldfstat 28 -1  pause 29 29  utime 30 -1  stty 31 -1  gtty 32 -1
access 33 33  nice 34 34  ftime 35 -1  sync 36 36  kill 37 37  rename 38 38  mkdir 39 39  rmdir 40 40  dup 41 41
pipe 42 42  times 43 43  prof 44 -1  brk 45 45  setgid 46 46  getgid 47 47  signal 48 -1  geteuid 49 49
getegid 50 50  acct 51 51  umount2 52 52  lock 53 -1  ioctl 54 54  fcntl 55 55  mpx 56 -1  setpgid 57 57
ulimit 58 -1  oldolduname 59 -1  umask 60 60  chroot 61 61  ustat 62 62  dup2 63 63  getppid 64 64
getpgrp 65 65  setsid 66 66  sigaction 67 67  sgetmask 68 -1  ssetmask 69 -1  setreuid 70 70  setregid 71 71
sigsuspend 72 72  sigpending 73 73  sethostname 74 74  setrlimit 75 75  getrlimit 76 -1  getrusage 77 77
gettimeofday 78 78  settimeofday 79 79  getgroups 80 80  setgroups 81 81  select 82 -1  symlink 83 83
oldlstat 84 -1  readlink 85 85  uselib 86 86  swapon 87 87  reboot 88 88  readdir 89 -1  mmap 90 -1
munmap 91 91  truncate 92 92  ftruncate 93 93  fchmod 94 94  fchown 95 95  getpriority 96 96  setpriority 97 97
profil 98 -1  statfs 99 99  fstatfs 100 100  ioperm 101 -1  socketcall 102 -1  syslog 103 103  setitimer 104 104
getitimer 105 105  stat 106 106  lstat 107 107  fstat 108 108  olduname 109 -1  iopl 110 -1  vhangup 111 111
idle 112 -1  vm86old 113 -1  wait4 114 114  swapoff 115 115  sysinfo 116 116  ipc 117 -1  fsync 118 118
sigreturn 119 119  clone 120 120  setdomainname 121 121  uname 122 122  modify_ldt 123 -1  adjtimex 124 124
mprotect 125 125  sigprocmask 126 126  create_module 127 -1  init_module 128 128  delete_module 129 129
get_kernel_syms 130 -1  quotactl 131 131  getpgid 132 132  fchdir 133 133  bdflush 134 134  sysfs 135 135
personality 136 136  afs_syscall 137 -1  setfsuid 138 138  setfsgid 139 139  _llseek 140 140  getdents 141 141
_newselect 142 142  flock 143 143  msync 144 144  readv 145 145  writev 146 146  getsid 147 147
fdatasync 148 148  _sysctl 149 149  mlock 150 150  munlock 151 151  mlockall 152 152  munlockall 153 153
sched_setparam 154 154  sched_getparam 155 155  sched_setscheduler 156 156  sched_getscheduler 157 157
sched_yield 158 158  sched_get_priority_max 159 159  sched_get_priority_min 160 160
sched_rr_get_interval 161 161  nanosleep 162 162  mremap 163 163  setresuid 164 164  getresuid 165 165
vm86 166 -1  query_module 167 -1  poll 168 168  nfsservctl 169 169  setresgid 170 170  getresgid 171 171
prctl 172 172  rt_sigreturn 173 173  rt_sigaction 174 174  rt_sigprocmask 175 175  rt_sigpending 176 176
rt_sigtimedwait 177 177  rt_sigqueueinfo 178 178  rt_sigsuspend 179 179  pread64 180 180  pwrite64 181 181
chown 182 182  getcwd 183 183  capget 184 184  capset 185 185  sigaltstack 186 186  sendfile 187 187
getpmsg 188 -1  putpmsg 189 -1  vfork 190 190  ugetrlimit 191 191  mmap2 192 192  truncate64 193 193
ftruncate64 194 194  stat64 195 195  lstat64 196 196  fstat64 197 197  lchown32 198 198  getuid32 199 199
getgid32 200 200  geteuid32 201 201  getegid32 202 202  setreuid32 203 203  setregid32 204 204
getgroups32 205 205  setgroups32 206 206  fchown32 207 207  setresuid32 208 208  getresuid32 209 209
setresgid32 210 210  getresgid32 211 211  chown32 212 212  setuid32 213 213  setgid32 214 214
setfsuid32 215 215  setfsgid32 216 216  pivot_root 217 218  mincore 218 219  madvise 219 220  getdents64 220 217
fcntl64 221 221  gettid 224 224  readahead 225 225  setxattr 226 226  lsetxattr 227 227  fsetxattr 228 228
getxattr 229 229  lgetxattr 230 230  fgetxattr 231 231  listxattr 232 232  llistxattr 233 233
flistxattr 234 234  removexattr 235 235  lremovexattr 236 236  fremovexattr 237 237  tkill 238 238
sendfile64 239 239  futex 240 240  sched_setaffinity 241 241  sched_getaffinity 242 242  set_thread_area 243 -1
get_thread_area 244 -1  io_setup 245 243  io_destroy 246 244  io_getevents 247 245  io_submit 248 246
io_cancel 249 247  fadvise64 250 -1  exit_group 252 248  lookup_dcookie 253 249  epoll_create 254 250
epoll_ctl 255 251  epoll_wait 256 252  remap_file_pages 257 253  set_tid_address 258 256  timer_create 259 257
timer_settime 260 258  timer_gettime 261 259  timer_getoverrun 262 260  timer_delete 263 261
clock_settime 264 262  clock_gettime 265 263  clock_getres 266 264  clock_nanosleep 267 265  statfs64 268 266
fstatfs64 269 267  tgkill 270 268  utimes 271 269  fadvise64_64 272 -1  vserver 273 313  mbind 274 319
get_mempolicy 275 320  set_mempolicy 276 321  mq_open 277 274  mq_unlink 278 275  mq_timedsend 279 276
mq_timedreceive 280 277  mq_notify 281 278  mq_getsetattr 282 279  kexec_load 283 347  waitid 284 280
add_key 286 309  request_key 287 310  keyctl 288 311  ioprio_set 289 314  ioprio_get 290 315
inotify_init 291 316  inotify_add_watch 292 317  inotify_rm_watch 293 318  migrate_pages 294 400  openat 295 322
mkdirat 296 323  mknodat 297 324  fchownat 298 325  futimesat 299 326  fstatat64 300 327  unlinkat 301 328
renameat 302 329  linkat 303 330  symlinkat 304 331  readlinkat 305 332  fchmodat 306 333  faccessat 307 334
pselect6 308 335  ppoll 309 336  unshare 310 337  set_robust_list 311 338  get_robust_list 312 339
splice 313 340  sync_file_range 314 -1  tee 315 342  vmsplice 316 343  move_pages 317 344  getcpu 318 345
epoll_pwait 319 346  utimensat 320 348  signalfd 321 349  timerfd_create 322 350  eventfd 323 351
fallocate 324 352  timerfd_settime 325 353  timerfd_gettime 326 354  signalfd4 327 355  eventfd2 328 356
epoll_create1 329 357  dup3 330 358  pipe2 331 359  inotify_init1 332 360  preadv 333 361  pwritev 334 362
rt_tgsigqueueinfo 335 363  perf_event_open 336 364  recvmmsg 337 365  fanotify_init 338 367
fanotify_mark 339 368  prlimit64 340 369  name_to_handle_at 341 370  open_by_handle_at 342 371
clock_adjtime 343 372  syncfs 344 373  sendmmsg 345 374  setns 346 375  process_vm_readv 347 376
process_vm_writev 348 377  kcmp 349 378  finit_module 350 379  sched_setattr 351 380  sched_getattr 352 381
renameat2 353 382  seccomp 354 383  getrandom 355 384  memfd_create 356 385  bpf 357 386  execveat 358 387
socket 359 281  socketpair 360 288  bind 361 282  connect 362 283  listen 363 284  accept4 364 366
getsockopt 365 295  setsockopt 366 294  getsockname 367 286  getpeername 368 287  sendto 369 290
sendmsg 370 296  recvfrom 371 292  recvmsg 372 297  shutdown 373 293  userfaultfd 374 388  membarrier 375 389
mlock2 376 390  copy_file_range 377 391  preadv2 378 392  pwritev2 379 393  pkey_mprotect 380 394
pkey_alloc 381 395  pkey_free 382 396  statx 383 397  arch_prctl 384 -1  io_pgetevents 385 399  rseq 386 398
semget 393 299  semctl 394 300  shmget 395 307  shmctl 396 308  shmat 397 305  shmdt 398 306  msgget 399 303
msgsnd 400 301  msgrcv 401 302  msgctl 402 304  clock_gettime64 403 403  clock_settime64 404 404
clock_adjtime64 405 405  clock_getres_time64 406 406  clock_nanosleep_time64 407 407  timer_gettime64 408 408
timer_settime64 409 409  timerfd_gettime64 410 410  timerfd_settime64 411 411  utimensat_time64 412 412
pselect6_time64 413 413  ppoll_time64 414 414  io_pgetevents_time64 416 416  recvmmsg_time64 417 417
mq_timedsend_time64 418 418  mq_timedreceive_time64 419 419  semtimedop_time64 420 420
rt_sigtimedwait_time64 421 421  futex_time64 422 422  sched_rr_get_interval_time64 423 423
arm_fadvise64_64 -1 270  pciconfig_iobase -1 271  pciconfig_read -1 272  pciconfig_write -1 273  accept -1 285
send -1 289  recv -1 291  semop -1 298  semtimedop -1 312  arm_sync_file_range -1 341  sync_file_range2 -1 341
kexec_file_load -1 401  breakpoint -1 983041  cacheflush -1 983042  usr26 -1 983043  usr32 -1 983044
set_tls -1 983045  get_tls -1 983046
"""

# A second set of numbers from 512 on, for calls whose memory x32 lays out differently than x86_64.
_X32_FIRST = 512
_X32_OWN = """
rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending
rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list
get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg process_vm_readv
process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 pwritev2
"""
_X32_WITHOUT = """
uselib _sysctl create_module get_kernel_syms query_module nfsservctl set_thread_area get_thread_area
epoll_ctl_old epoll_wait_old vserver uretprobe uprobe map_shadow_stack
"""
_ARM_WITHOUT = ("memfd_secret",)

X32_BIT = 0x40000000
ARM_PRIVATE = 0xF0000  # arm's own calls, far above the others

# linux/net.h SYS_*, from 1, and linux/ipc.h
_SOCKETCALLS = """
socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown
setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
"""
_IPC = """
semop 1  semget 2  semctl 3  semtimedop 4  msgsnd 11  msgrcv 12  msgget 13  msgctl 14
shmat 21  shmdt 22  shmget 23  shmctl 24
"""

ABIS = ("i386", "x32", "arm")

_tables: dict[str, dict[str, int]] = {}


def numbers(abi: str) -> dict[str, int]:
    """Every call of `abi` and its number there, x32's with their bit. Shared: do not change it.

    Raises KeyError for another `abi`.
    """
    table = _tables.get(abi)
    if table is None:
        table = _tables[abi] = {"i386": _i386, "x32": _x32, "arm": _arm}[abi]()
    return table


def multiplexed() -> dict[str, tuple[int, int]]:
    """The calls that i386 also makes through another one: {name: (its number, the first argument)}."""
    table = _multiplexed
    if not table:
        known = numbers("i386")
        table.update({name: (known["socketcall"], at) for at, name in enumerate(_SOCKETCALLS.split(), 1)})
        words = _IPC.split()
        table.update({name: (known["ipc"], int(at)) for name, at in zip(words[::2], words[1::2], strict=True)})
    return table


_multiplexed: dict[str, tuple[int, int]] = {}


def _column(column: int) -> dict[str, int]:
    words = _OLDER.split()
    pairs = zip(words[::3], words[column::3], strict=True)
    table = {name: int(nr) for name, nr in pairs if nr != "-1"}
    table.update(syscalls.common())
    return table


def _i386() -> dict[str, int]:
    return _column(1)


def _arm() -> dict[str, int]:
    table = _column(2)
    for name in _ARM_WITHOUT:
        del table[name]
    return table


def _x32() -> dict[str, int]:
    table = {name: nr | X32_BIT for name, nr in syscalls.numbers("x86_64").items() if nr >= 0}
    table.update({name: nr | X32_BIT for nr, name in enumerate(_X32_OWN.split(), _X32_FIRST)})
    for name in _X32_WITHOUT.split():
        del table[name]
    return table
