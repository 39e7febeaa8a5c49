/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps root in a guest in: no capability that makes no sense there, a list of system calls
 * that are refused (seccomp_gen.c, docs/GUEST), a keyring of its own, no host descriptor. The same
 * for the guest's init and for whoever enters later.
 */
#ifndef VM2_GUEST_CONFINE_H
#define VM2_GUEST_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "provision/base/err.h"

/*
 * On the host, with its privileges: give the caller, and so the guest's processes that it becomes or
 * makes, what a fresh system's first one has, whatever limits vm2d runs with: resource limits, and
 * no protection from the out-of-memory killer, nor a way to get any. Best effort: what a host itself
 * was not given cannot be given on.
 */
void confine_limits(void);

/* What becomes of RLIMIT_CORE under that kernel.core_pattern. */
struct rlimit confine_core_limit(const char *pattern);

/*
 * For a process that has just entered the guest's namespaces: become its root (uid, gid, no
 * groups), with a new session keyring. Credentials of the host are gone after it.
 */
int confine_become_root(struct err *err);

/* On the host: whether it has AppArmor. */
bool confine_has_profiles(void);

/*
 * Have the caller's next exec put it under the AppArmor profile that `vm2 host setup` loads; where it was not
 * loaded, nothing. proc is the host's. First of all where that is /proc itself: what is looked for of a
 * process in there stays in the host's memory as long as it lives.
 */
void confine_profile(int proc);

/*
 * Show a guest that may use `percent` of one processor (0: all there are) no more processors than it can
 * keep busy: nproc(1) and language runtimes count those that a process may run on. The caller stays
 * where the kernel's balancing has put it, and has those next to it for more. It is no bound (that is
 * the control group's): whoever would rather have others takes them with taskset(1).
 */
void confine_processors(uint64_t percent);

/* The rest: bounding set and system call filter. The last thing before exec. */
int confine_restrict(struct err *err);

#endif
