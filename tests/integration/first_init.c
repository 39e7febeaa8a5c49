/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An init whose first act is to take all it can get: as many processes as there may be, then more
 * memory than there is. It notes in /seen what it got, "PROCESSES SIGNAL" (what ended the one that
 * took the memory), and stays until it is asked to stop. FORKS and BYTES bound what it takes where
 * nothing else does.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKS 200
#define BYTES (96u << 20)

static void take_memory(void)
{
	char *all = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		_exit(1);
	memset(all, 1, BYTES);
	_exit(0);
}

int main(void)
{
	pid_t children[FORKS];
	int n = 0, status = 0, fd;
	char said[64];
	sigset_t stop;

	/* What is asked before it is waited for is kept. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	while (n < FORKS && (children[n] = fork()) >= 0) {
		if (children[n] == 0) {
			pause();
			_exit(0);
		}
		n++;
	}
	for (int i = 0; i < n; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	if (fork() == 0)
		take_memory();
	wait(&status);
	snprintf(said, sizeof(said), "%d %d\n", n, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	fd = open("/seen.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (write(fd, said, strlen(said)) > 0)
		rename("/seen.new", "/seen");
	sigwaitinfo(&stop, NULL);
	return 0;
}
