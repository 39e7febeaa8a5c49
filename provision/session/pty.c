/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/modes.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2) /* linux/pidfd.h, since Linux 6.9 */
#endif

static bool in_devpts(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC;
}

static bool is_master(int fd)
{
	struct stat st;

	/* 5:2 is ptmx, Documentation/admin-guide/devices.txt */
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 2) &&
	       in_devpts(fd);
}

int pty_open(int *ret_master, int *ret_slave, char name[32], struct err *err)
{
	CLEANUP_CLOSE int folder = -1, master = -1, slave = -1;
	int unlock = 0, number;

	folder = open("/dev/pts", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0)
		return err_sys(err, errno, "the guest has no /dev/pts");
	/* devpts holds nothing but terminals: what is opened in it cannot be a trap. */
	if (!in_devpts(folder))
		return err_set(err, ERR_FAILED, "the guest's /dev/pts is no devpts: mount one there");
	master = openat(folder, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
	if (master < 0)
		return err_sys(err, errno, "cannot open a terminal in the guest");
	if (!is_master(master))
		return err_set(err, ERR_FAILED, "the guest's /dev/pts/ptmx is no terminal");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
		return err_sys(err, errno, "cannot unlock the terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, errno, "cannot open the terminal's slave");
	snprintf(name, 32, "/dev/pts/%d", number);
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

int pty_adopt(int slave, const struct order *o, struct err *err)
{
	struct termios t;

	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "cannot take the terminal as the controlling one");
	if (pty_resize(slave, o->cols, o->rows, o->xpixel, o->ypixel) < 0)
		return err_sys(err, errno, "cannot set the terminal's size");
	/* As sshd, from what the kernel gives a new one. What it does not take stays as it was. */
	if (o->modes && tcgetattr(slave, &t) == 0) {
		modes_apply(o->modes, &t);
		tcsetattr(slave, TCSANOW, &t);
	}
	return 0;
}

int pty_check_master(int fd, int *ret_number, struct err *err)
{
	int number;

	if (!is_master(fd) || ioctl(fd, TIOCGPTN, &number) < 0)
		return err_set(err, ERR_FAILED, "what the guest handed out is no terminal");
	/* Our own description: only the child's copy shares it, and that is closed by its exec. */
	if (fd_nonblock(fd, 1) < 0)
		return err_sys(err, errno, "cannot prepare the terminal");
	*ret_number = number;
	return 0;
}

int pty_resize(int master, unsigned int cols, unsigned int rows, unsigned int xpixel,
	       unsigned int ypixel)
{
	struct winsize size = { .ws_col = (unsigned short)cols,
				.ws_row = (unsigned short)rows,
				.ws_xpixel = (unsigned short)xpixel,
				.ws_ypixel = (unsigned short)ypixel };

	return ioctl(master, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

void pty_signal(int master, pid_t leader, int sig)
{
	CLEANUP_CLOSE int pidfd = -1;
	pid_t group = 0;

	/* The kernel itself does it for INT, QUIT and TSTP (EINVAL for others). */
	if (ioctl(master, TIOCSIG, sig) == 0)
		return;
	/*
	 * A number that the guest can change at any moment: held by pidfd, then checked to be of
	 * our session, so that CAP_KILL never reaches another's process.
	 */
	if (ioctl(master, TIOCGPGRP, &group) == 0 && group > 0 && group != leader) {
		pidfd = (int)syscall(SYS_pidfd_open, group, 0);
		if (pidfd >= 0 && getsid(group) == leader &&
		    (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, PIDFD_SIGNAL_PROCESS_GROUP) == 0 ||
		     syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) == 0))
			return;
	}
	kill(-leader, sig);
}
