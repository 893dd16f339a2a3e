// SPDX-License-Identifier: MIT
/* The list of engines, and the choice among them. */
#include "engine.h"

#include <string.h>

/* A device if there is one that can be used, else the CPU. */
static int auto_open(struct linnet_engine **out, const struct linnet_engine_options *opts,
		     struct linnet_error *err)
{
	int ret = linnet_engine_accel.open(out, opts, NULL);

	return ret ? linnet_engine_host.open(out, opts, err) : 0;
}

static const struct linnet_engine_ops engine_auto = { .name = "auto", .open = auto_open };

static const struct linnet_engine_ops *const engines[] = {
	&engine_auto,
	&linnet_engine_host,
	&linnet_engine_accel,
};

const struct linnet_engine_ops *linnet_engine_find(const char *name)
{
	if (!name || !*name)
		return &engine_auto;
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}
