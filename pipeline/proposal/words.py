"""Words that columns of learning logs are called by, in English, German, French, Spanish, Chinese.

Names are compared in one spelling: `StudentID`, `student id` and `Student-ID` are `student_id`, and
`Schüler` is `schuler`.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Role(StrEnum):
    """What a column of a log is about; those of events have the names of standard columns."""

    LEARNER = "learner_id"
    UNIT = "unit_id"
    RUN = "run"  # the second half of a unit's name: the term in which a course was given
    TIME = "time"
    EVENT_TYPE = "event_type"
    COMPONENT = "component"
    DWELL = "dwell_seconds"
    CORRECT = "correct"
    SCORE = "score"
    COMPLETED = "completed"
    SPEED = "playback_speed"
    AS_OF = "as_of"
    LABEL = "label"
    PROTECTED = "protected"
    PERSON = "person"  # names, addresses: who the learner is


_WORDS = {
    Role.LEARNER: """
        learner learner_id student student_id studentid id_student user user_id userid uid actor
        anon_student_id username pupil pupil_id participant participant_id person_id member_id
        account_id enrollment_id enrolment_id
        lernende lernende_id lernender lerner lerner_id schuler schuler_id schueler schueler_id
        nutzer nutzer_id benutzer benutzer_id teilnehmer teilnehmer_id matrikelnummer matrikel_nr
        studierende studierende_id person
        apprenant id_apprenant etudiant id_etudiant utilisateur id_utilisateur eleve id_eleve
        alumno id_alumno estudiante id_estudiante usuario id_usuario
        学生 学生id 学号 学习者 学习者id 用户 用户id 学员 学员id 学员编号
    """,
    Role.UNIT: """
        unit unit_id course course_id courseid code_module module module_id skill skill_id
        skill_name topic topic_id chapter chapter_id lesson lesson_id subject class_id
        kurs kurs_id kursnummer modul modul_id thema kapitel lektion fach einheit lerneinheit
        cours id_cours id_module chapitre unite matiere competence
        curso id_curso modulo tema unidad asignatura capitulo
        课程 课程id 课程编号 单元 章节 知识点
    """,
    Role.RUN: """
        code_presentation presentation term semester run cohort session_code
        durchgang jahrgang semestre convocatoria cohorte 学期
    """,
    Role.TIME: """
        time timestamp datetime date event_time created created_at timecreated start_time
        occurred_at server_time event_date date_time ts order_id opportunity week day step
        zeit zeitpunkt zeitstempel datum uhrzeit datum_uhrzeit datum_zeit woche tag
        temps heure horodatage date_heure debut semaine jour
        fecha hora tiempo marca_de_tiempo fecha_hora semana dia
        时间 日期 时间戳 发生时间 开始时间
    """,
    Role.EVENT_TYPE: """
        event event_type eventtype event_name eventname type action activity activity_type verb kind
        ereignis ereignistyp ereignisart aktion aktivitat aktivitaet art typ
        evenement type_evenement activite
        evento tipo tipo_evento tipo_de_evento accion actividad
        事件 事件类型 动作 行为 类型 活动类型
    """,
    Role.COMPONENT: """
        component knowledge_component kc problem problem_id item item_id question question_id
        resource resource_id id_site object_id activity_id page page_id content_id exercise_id
        aufgabe aufgabe_id aufgaben_id frage frage_id element material baustein objekt inhalt seite
        exercice question ressource contenu
        ejercicio pregunta recurso contenido
        题目 题目id 资源 资源id 组件 内容
    """,
    Role.DWELL: """
        dwell dwell_seconds duration duration_s seconds time_spent time_on_task elapsed_time
        response_time response_s elapsed
        dauer dauer_s verweildauer bearbeitungszeit sekunden dauer_in_sekunden
        duree duree_s temps_passe
        duracion duracion_s tiempo_dedicado
        时长 停留时间 用时 停留时长
    """,
    Role.CORRECT: """
        correct is_correct right answer_correct correctness
        richtig korrekt ist_richtig richtig_beantwortet
        juste exact reponse_correcte
        correcto correcta acierto
        正确 是否正确
    """,
    Role.SCORE: """
        score points mark percentage score_percent
        punkte punktzahl punkteanteil note bewertung
        points note_obtenue
        puntos puntuacion calificacion nota
        分数 得分
    """,
    Role.COMPLETED: """
        completed complete done finished is_completed exercise_completed
        abgeschlossen erledigt fertig beendet
        termine acheve
        completado terminado
        完成 是否完成
    """,
    Role.SPEED: """
        playback_speed speed playback_rate rate video_speed
        abspielgeschwindigkeit geschwindigkeit vitesse velocidad 播放速度 倍速
    """,
    Role.AS_OF: """
        as_of asof asked_at judged_at deadline cutoff cut_off
        stichtag bewertet_am date_limite fecha_corte fecha_limite 截止时间 截止日期 评判时间
    """,
    Role.LABEL: """
        label outcome mastery mastered dropout dropped target passed final_result result grade
        final_grade final_score certified completed_course answer
        bestanden ergebnis abschluss endnote abschlussnote abbruch abgebrochen beherrscht note
        reussi resultat abandon note_finale mention maitrise
        aprobado resultado abandono nota_final dominio
        标签 结果 掌握 通过 退学 成绩 最终成绩
    """,
    Role.PROTECTED: """
        gender sex age age_band age_group birth_year year_of_birth yob birthday ethnicity race
        religion nationality country region disability imd_band income mother_tongue
        geschlecht alter altersgruppe geburtsjahr geburtsdatum nationalitat herkunft land
        behinderung muttersprache bundesland
        genre sexe tranche_age annee_de_naissance nationalite pays handicap
        genero sexo edad grupo_de_edad nacionalidad pais discapacidad
        性别 年龄 年龄段 出生年份 民族 国籍 地区 残疾
    """,
    Role.PERSON: """
        name first_name last_name full_name firstname lastname fullname user_full_name email
        email_address e_mail mail ip ip_address phone address
        vorname nachname vollstandiger_name telefon adresse
        nom prenom courriel telephone
        nombre apellido apellidos correo telefono direccion
        姓名 名字 邮箱 电话 地址
    """,
}  # fmt: skip
WORDS = {role: frozenset(text.split()) for role, text in _WORDS.items()}

# How far a learner got, in words: classes are written from the lowest to the highest.
_RANKS = (
    "withdrawn dropped dropout dropped_out inactive quit abgebrochen abandon abandono 退学",
    "not_mastered failed fail wrong incorrect false no not_passed not_completed nicht_bestanden "
    "falsch nein low niedrig echoue faux non bas reprobado suspenso bajo 不及格 错误 未掌握",
    "partial partly medium mittel teilweise partiel moyen parcial medio 部分掌握 中",
    "mastered passed pass correct right true yes stayed active completed bestanden richtig ja high "
    "hoch reussi juste vrai oui haut aprobado correcto si alto 及格 正确 掌握 通过",
    "proficient distinction excellent ausgezeichnet sehr_gut mention_tres_bien sobresaliente 优秀",
)
RANKS = {word: rank for rank, words in enumerate(_RANKS) for word in words.split()}

# What an answer of yes or no is written as, beside 0 and 1.
_YES = """
    1 1.0 true t yes y ja j wahr richtig korrekt oui o vrai juste si sí s verdadero 是 对
"""
_NO = """
    0 0.0 false f no n nein falsch non faux incorrecto falso 否 错
"""
YES, NO = frozenset(_YES.split()), frozenset(_NO.split())


def in_one_spelling(name: str) -> str:
    """Returns a name in lower case, its words joined by `_`, without accents.

    >>> in_one_spelling("StudentID"), in_one_spelling("Schüler-Nr."), in_one_spelling("课程 ID")
    ('student_id', 'schuler_nr', '课程_id')
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    return re.sub(r"[^\w]+|_+", "_", spaced).strip("_").lower()


def match_name(name: str, role: Role) -> float:
    """Returns how well a column's name fits a role: 1 for a word of it, less for a part of one.

    >>> match_name("Student ID", Role.LEARNER), match_name("quiz_time", Role.TIME)
    (1.0, 0.6)
    """
    spelled = in_one_spelling(name)
    words = WORDS[role]
    if spelled in words or spelled.replace("_", "") in words:
        return 1.0
    parts = spelled.split("_")
    tails = {"_".join(parts[start:]) for start in range(1, len(parts))}
    heads = {"_".join(parts[:stop]) for stop in range(1, len(parts))}
    return 0.6 if words & (tails | heads) else 0.0
