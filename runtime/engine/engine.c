// SPDX-License-Identifier: MIT
/* The list of engines. */
#include "engine.h"

#include <string.h>

static const struct linnet_engine_ops *const engines[] = { &linnet_engine_host };

const struct linnet_engine_ops *linnet_engine_find(const char *name)
{
	if (!name || !*name || !strcmp(name, "auto"))
		return engines[0];
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}
