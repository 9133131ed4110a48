"""What the launcher of the Flex Template runs."""

import sys

from weaviate_io.pipelines.template import main

sys.exit(main())
