/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * statfs(2) of a guest whose storage holds it to a size that the kernel's does not show: a second filter
 * of system calls hands statfs and fstatfs to a listener (seccomp_unotify(2)), which the guest's keeper
 * has and answers (answer.h). Init's is inherited; whoever enters later brings one of its own, by a
 * socket in RUN/guests/NAME. A keeper without that socket answers nobody, and no filter is loaded.
 */
#ifndef VM2_GUEST_NOTIFY_H
#define VM2_GUEST_NOTIFY_H

/*
 * The socket's name in the guest's folder of RUN: SOCK_DGRAM, each datagram one listener. To be counted up when
 * the filter asks what keepers that run could not answer: whoever enters does not find theirs.
 */
#define NOTIFY_SOCKET "statfs.2"

/*
 * In a process of the guest that is to be executed soon, with CAP_SYS_ADMIN there: load the filter. The
 * listener, which closes itself on exec, or -errno: without it nothing changes.
 */
int notify_load(void);

/* On the host: the keeper's end, which closes itself on exec, or -errno. One that was there is no more. */
int notify_bind(int dirfd);

/* On the host: the way to the keeper of the guest of this folder, or 0 where it takes no listener. */
int notify_connect(int dirfd);

/*
 * In a process that has entered: load the filter and give the listener away. 0, also where no filter can be
 * loaded; or -errno when it was, and nobody has the listener: then the kernel says ENOSYS for these calls, to
 * this process and to all it executes.
 */
int notify_enter(int keeper);

#endif
