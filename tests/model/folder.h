/* SPDX-License-Identifier: MIT */
/*
 * The folder of a test that makes models: there while it runs. They are made with numpy,
 * without which such a test is skipped.
 */
#ifndef LINNET_TESTS_MODEL_FOLDER_H
#define LINNET_TESTS_MODEL_FOLDER_H

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The interpreter that has numpy. */
static inline const char *folder_python(void)
{
	const char *python = getenv("PYTHON");

	return python ? python : "/usr/bin/python3";
}

/* Makes @dir of a template as mkdtemp() does; else what main() is to return. */
static inline int folder_begin(char *dir)
{
	char command[512];

	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	snprintf(command, sizeof(command), "%s -c 'import numpy' 2>/dev/null", folder_python());
	if (!system(command))
		return 0;
	printf("1..0 # SKIP python3-numpy, which makes the models, is not installed\n");
	rmdir(dir);
	return 77;
}

/* Takes it away; returns what main() is to return. */
static inline int folder_end(const char *dir)
{
	char command[512];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		printf("# %s stays\n", dir);
	return test_end();
}

#endif
