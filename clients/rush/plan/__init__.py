"""Who asks for what, when and where: scenarios, and the crowd that is planned from one."""
