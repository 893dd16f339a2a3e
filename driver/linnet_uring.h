/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * io_uring commands.
 */
#ifndef __LINNET_URING_H__
#define __LINNET_URING_H__

#include <linux/types.h>

struct io_uring_cmd;
struct linnet_job;

int linnet_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags);

/*
 * For linnet_job.c. Exactly one of three completes a command that waits for a job: the
 * job's end, the failure of its creation, or io_uring's own cancellation. Whoever takes
 * @job->cmd under &linnet_device.queue_lock is the one.
 */
void linnet_uring_job_begins(struct linnet_job *job, struct io_uring_cmd *cmd,
			     unsigned int issue_flags);
void linnet_uring_job_ended(struct io_uring_cmd *cmd);
bool linnet_uring_job_failed(struct linnet_job *job, int result, unsigned int issue_flags);

#endif /* __LINNET_URING_H__ */
