/* SPDX-License-Identifier: MIT */
/* What every engine checks before it takes a stream or a job. */
#ifndef LINNET_ENGINE_CHECK_H
#define LINNET_ENGINE_CHECK_H

#include "engine.h"

#include "kernels/stream.h"

/* linnet_stream_parse() with a message that says where and why. */
int linnet_engine_parse(struct linnet_stream **out, const void *data, size_t bytes,
			struct linnet_error *err);

/* 0, or -EINVAL as linnet_engine_ops.submit says. */
int linnet_job_check(const struct linnet_stream *s, const struct linnet_job *job);

#endif
