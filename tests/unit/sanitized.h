/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SANITIZED is defined when AddressSanitizer is built in: its run-time library makes calls and threads. */
#ifndef VM2_TESTS_UNIT_SANITIZED_H
#define VM2_TESTS_UNIT_SANITIZED_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

#endif
