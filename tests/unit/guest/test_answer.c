/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/fd.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/pass.h"
#include "provision/guest/answer.h"
#include "provision/guest/asked.h"
#include "provision/guest/notify.h"

Test(answer, a_plans_disk_is_shown)
{
	struct statfs fs = {
		.f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 19, .f_bavail = 1 << 18
	};

	answer_show(&fs, 200 << 20, 150 << 20);
	cr_expect_eq(fs.f_blocks, 51200);
	cr_expect_eq(fs.f_bfree, 38400);
	cr_expect_eq(fs.f_bavail, 38400);
}

Test(answer, no_more_is_left_than_the_file_system_has)
{
	struct statfs fs = { .f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 100, .f_bavail = 50 };

	answer_show(&fs, 200 << 20, 150 << 20);
	/* What is used stays what it is. */
	cr_expect_eq(fs.f_blocks - fs.f_bfree, 12800);
	cr_expect_eq(fs.f_bavail, 50);
}

Test(answer, who_deleted_of_the_template_has_the_disk_and_not_more)
{
	struct statfs fs = {
		.f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 19, .f_bavail = 1 << 18
	};

	answer_show(&fs, 200 << 20, 300 << 20);
	cr_expect_eq(fs.f_bfree, 51200);
	answer_show(&fs, 200 << 20, 0);
	cr_expect_eq(fs.f_bfree, 0);
	cr_expect_eq(fs.f_bavail, 0);
}

/* As Linux 6.18 writes it. */
#define STATUS(name, groups)                                                                               \
	"Name:\t" name                                                                                     \
	"\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nNgid:\t0\nPid:\t7\nPPid:\t1\n"                    \
	"TracerPid:\t0\nUid:\t1\t2\t3\t603980776\nGid:\t5\t6\t7\t603980777\nFDSize:\t64\nGroups:\t" groups \
	" \n"                                                                                              \
	"NStgid:\t7\t7\n"

Test(answer, the_asker_is_read)
{
	struct asker asker;

	cr_assert_eq(asked_read_status(STATUS("df", "4 603980804"), &asker), 0);
	cr_expect_eq(asker.uid, 603980776);
	cr_expect_eq(asker.gid, 603980777);
	cr_assert_eq(asker.n_groups, 2);
	cr_expect_eq(asker.groups[0], 4);
	cr_expect_eq(asker.groups[1], 603980804);
	/* The kernel writes a line's end in a name as \n. */
	cr_assert_eq(asked_read_status(STATUS("\\nUid:\\t0\\t0", ""), &asker), 0);
	cr_expect_eq(asker.uid, 603980776);
	cr_expect_eq(asker.n_groups, 0);
}

Test(answer, more_groups_than_there_is_room_for)
{
	char many[1024] = "", text[2048];
	struct asker asker;

	for (int i = 0; i < ASKER_GROUPS + 40; i++)
		strcat(many, "12 ");
	snprintf(text, sizeof(text), "\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t%s\n", many);
	cr_assert_eq(asked_read_status(text, &asker), 0);
	cr_expect_eq(asker.n_groups, ASKER_GROUPS);
}

Test(answer, what_is_cut_is_nobody)
{
	static const char whole[] = STATUS("df", "4");
	struct asker asker = { .uid = 99 };
	char text[sizeof(whole)];

	for (size_t n = 0; n < (size_t)(strstr(whole, "Groups:") - whole) + 7; n++) {
		memcpy(text, whole, n);
		text[n] = '\0';
		cr_assert_eq(asked_read_status(text, &asker), -EBADMSG, "%zu bytes", n);
		cr_assert_eq(asker.uid, 99);
	}
	/* A group whose number goes on is another. */
	cr_assert_eq(asked_read_status("\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t4 12", &asker), 0);
	cr_expect_eq(asker.n_groups, 1);
}

/* 32-bit programs that ask by the first of their calls are told no number that was cut: the kernel refuses them. */
Test(answer, what_32_bits_cannot_hold_is_not_told)
{
	const struct seccomp_data asked = { .nr = ABI32_STATFS, .arch = AUDIT_ARCH_I386 };
	struct statfs fs = { .f_bsize = 4096, .f_blocks = UINT32_MAX };
	union abi_answer answer;
	struct abi_call call;

	cr_assert_eq(abi_read(&asked, &call), 0);
	cr_assert_eq(abi_lay_out(&call, &fs, &answer), 0);
	cr_expect_eq(answer.old.blocks, UINT32_MAX);
	fs.f_blocks++;
	cr_expect_eq(abi_lay_out(&call, &fs, &answer), -EOVERFLOW);
}

/* One that has brought a listener, for which anything that can be polled does. */
static struct answers with_a_listener(int epoll)
{
	int pair[2], listener[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	cr_assert_eq(pipe(listener), 0);
	cr_assert_eq(pass_send(pair[1], "", 1, listener[0]), 0);
	return (struct answers){ .epoll = epoll,
				 .socket = pair[0],
				 .late = -1,
				 .slow_listener = -1,
				 .room = 100000,
				 .room_at = clock_ms() };
}

static int serve(struct answers *a, struct pollfd p[2])
{
	int wait = answers_poll(a, clock_ms(), p);

	poll(p, 2, 0);
	answers_serve(a, p);
	return wait;
}

Test(answer, who_comes_is_taken_whatever_is_asked)
{
	struct answers a = with_a_listener(epoll_create1(0));
	struct pollfd p[2];

	a.slow = 1;
	a.slow_until = clock_ms() + 60000;
	cr_expect_gt(serve(&a, p), 50000);
	cr_expect_eq(p[0].fd, -1);
	cr_expect_eq(a.listeners, 1);
	a.slow = 0;
	cr_expect_eq(serve(&a, p), -1);
	cr_expect_eq(p[0].fd, a.epoll);
	cr_expect_eq(a.listeners, 1);
}

Test(answer, who_cannot_be_taken_now_is_later)
{
	struct answers a = with_a_listener(open("/dev/null", O_RDONLY));
	struct pollfd p[2];

	cr_expect_eq(serve(&a, p), -1);
	cr_expect_geq(a.late, 0);
	cr_expect_eq(a.listeners, 0);
	a.epoll = epoll_create1(0);
	/* Looked at again soon, and nobody else meanwhile. */
	cr_expect_eq(serve(&a, p), 100);
	cr_expect_eq(p[1].fd, -1);
	cr_expect_eq(a.late, -1);
	cr_expect_eq(a.listeners, 1);
	cr_expect_eq(serve(&a, p), -1);
	cr_expect_eq(p[1].fd, a.socket);
}

/*
 * What a process gets that enters when the keeper's end of this pair is there, or is not; and when others have a
 * listener for it already, as where the host is a container itself.
 */
static int enter(const int pair[2], bool others)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		close(pair[0]);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || (others && notify_load() < 0))
			_exit(99);
		_exit(-notify_enter(pair[1]));
	}
	close(pair[1]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A process enters; whether the keeper has its listener then. */
static bool is_taken(bool others)
{
	CLEANUP_CLOSE int fd = -1;
	int pair[2];
	char byte;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	cr_expect_eq(enter(pair, others), 0);
	return pass_receive(pair[0], &byte, 1, MSG_DONTWAIT, &fd) == 1 && fd >= 0;
}

Test(answer, a_listener_that_nobody_takes_is_told)
{
	int pair[2];

	cr_expect(is_taken(false));
	/* Its keeper was killed after it has found it. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	close(pair[0]);
	pair[0] = -1;
	cr_expect_eq(enter(pair, false), ECONNREFUSED);
}

Test(answer, where_others_listen_nobody_is_kept_out)
{
	cr_expect(!is_taken(true));
}
