"""Makes no DAGs: shows wrong declarations as an Airflow import error, file and line.

Every other file here leaves a wrong model out, so that the others' DAGs stay; without this one,
nobody would see why its DAGs are gone.
"""

from ferryman_airflow.declarations import refuse_wrong_declarations

refuse_wrong_declarations()
