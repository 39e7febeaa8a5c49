/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provision/daemon/handlers.h"
#include "provision/guest/storage.h"

#define CPU_MAX	      102400 /* percent: 1,024 processors */
#define BYTES_MAX     (1ULL << 50)
#define MEMORY_MIN    (16ULL << 20) /* less starts no Debian */
#define PROCESSES_MAX 4194304	    /* PID_MAX_LIMIT of the kernel */

static int limits(struct request *r, struct store_plan *p)
{
	const char *recording = msg_get(&r->in, "recording");
	int n = msg_get_u64(&r->in, "cpu", 0, CPU_MAX, &p->cpu, &r->err);

	if (n == 0)
		n = msg_get_u64(&r->in, "memory", 0, BYTES_MAX, &p->memory, &r->err);
	if (n == 0)
		n = msg_get_u64(&r->in, "disk", 0, BYTES_MAX, &p->disk, &r->err);
	if (n == 0)
		n = msg_get_u64(&r->in, "processes", 0, PROCESSES_MAX, &p->processes, &r->err);
	if (n != 0)
		return n;
	if (p->memory && p->memory < MEMORY_MIN)
		return err_set(&r->err, ERR_USAGE,
			"memory = %" PRIu64 " bytes is too little: 16M at least", p->memory);
	p->recording_required = recording && !strcmp(recording, "required");
	if (recording && !p->recording_required && strcmp(recording, "best-effort"))
		return err_set(&r->err, ERR_USAGE,
			"recording = '%.40s' is neither required nor best-effort", recording);
	return 0;
}

/* What nobody would hold the guests to is not promised. */
static int check_disk(struct request *r)
{
	const struct storage_driver *driver = storage_pick(r->config, &r->err);
	const char *why = driver ? driver->probe_limit(r->config) : NULL;

	if (!driver)
		return ERR_FAILED;
	return why ? err_set(&r->err, ERR_FAILED, "the plan's disk cannot be kept: %s", why) : 0;
}

int plan_add(struct request *r)
{
	struct store_plan plan = { 0 };
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = limits(r, &plan);
	if (n == 0 && plan.disk)
		n = check_disk(r);
	if (n != 0)
		return n;
	snprintf(plan.name, sizeof(plan.name), "%s", name);
	return store_plan_add(r->store, &plan, &r->err);
}

static int send_plan(void *data, const struct store_plan *p)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "name", p->name);
	msg_add_u64(&row, "cpu", p->cpu);
	msg_add_u64(&row, "memory", p->memory);
	msg_add_u64(&row, "disk", p->disk);
	msg_add_u64(&row, "processes", p->processes);
	msg_add(&row, "recording", p->recording_required ? "required" : "best-effort");
	msg_add_u64(&row, "tenants", p->tenants);
	return request_row(data, &row);
}

int plan_list(struct request *r)
{
	return store_plan_each(r->store, send_plan, r, &r->err);
}
