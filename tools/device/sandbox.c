// SPDX-License-Identifier: MIT
/* Keeps sandbox.h. */
#include "sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Threads are started, and what is to be read is read, before the filter is there; but for
 * the thread of jobs. */
static const int allowed[] = {
	/* the connection, kicks and calls, messages on stderr */
	SYS_read, SYS_write, SYS_recvmsg, SYS_recvfrom, SYS_sendmsg, SYS_ppoll,
	SYS_close, SYS_fstat, SYS_newfstatat, SYS_fcntl, SYS_memfd_create, SYS_ftruncate,
#ifdef SYS_poll
	SYS_poll,
#endif
	/* memory: the guest's and our own */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
	/* threads */
	SYS_futex, SYS_clone, SYS_clone3, SYS_set_robust_list, SYS_sched_yield,
	SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_exit, SYS_exit_group,
#ifdef SYS_rseq
	SYS_rseq,
#endif
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_tgkill, SYS_restart_syscall,
	SYS_clock_gettime, SYS_clock_nanosleep, SYS_getrandom,
};

#define N_ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

static int filter_calls(void)
{
#ifdef ARCH
	struct sock_filter f[N_ALLOWED + 6];
	struct sock_fprog prog = { .filter = f };
	unsigned short n = 0;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < N_ALLOWED; i++)
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						      (unsigned)allowed[i], N_ALLOWED - i, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = n;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
#else
	return -ENOTSUP;
#endif
}

int sandbox_enter(bool filter, const char **why)
{
	const struct rlimit none = { 0, 0 };
	int ret;

	*why = "cannot give up privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
		return -errno;
	*why = "cannot filter system calls (--no-sandbox does without)";
	ret = filter ? filter_calls() : 0;
	return ret;
}
