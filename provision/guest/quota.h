/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Project quotas (quotactl(2), ioctl_xfs_fsgetxattr(2)): what is made in a folder that belongs to a
 * project is charged to it. ext4 has them when made with -O quota,project and mounted with prjquota,
 * XFS when mounted with prjquota. A project's number here is one of the guest's range of host uids, which
 * no other guest has; from within a guest it cannot be changed (the kernel asks for the first user
 * namespace).
 */
#ifndef VM2_GUEST_QUOTA_H
#define VM2_GUEST_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the file system of an open file holds projects to their limits. */
bool quota_enforced(int fd);

/* Have an empty folder, open for reading, and all that will be made in it belong to the project. 0 or -errno. */
int quota_adopt(int dirfd, uint32_t project);

/* The project that what is made in the folder belongs to; 0: none. */
uint32_t quota_project(int dirfd);

/* What the project takes by now. 0 or -errno. */
int quota_usage(int fd, uint32_t project, uint64_t *ret_bytes, uint64_t *ret_inodes);

/* Hold the project to so many bytes (to the next KiB) and inodes; 0 lifts it. 0 or -errno. */
int quota_limit(int fd, uint32_t project, uint64_t bytes, uint64_t inodes);

#endif
